//! `metadata.managedFields`: who has which fields.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::set::FieldSet;

/// How many writers that do not apply are told apart, as in Kubernetes.
const UPDATERS_MAX: usize = 10;
/// Who has what older ones set.
const OLDER: &str = "ancient-changes";
const FIELDS_TYPE: &str = "FieldsV1";

/// How somebody came by their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Operation {
    Apply,
    Update,
}

/// Somebody who writes an object, now.
#[derive(Clone, Debug)]
pub(in super::super) struct Writer {
    pub(in super::super) manager: String,
    pub(in super::super) operation: Operation,
    pub(in super::super) api_version: String,
    /// Through which part of the object; empty: the object itself.
    pub(in super::super) subresource: String,
    /// Now, as documents have it.
    pub(in super::super) time: String,
    /// A field of the document that cannot be written this way.
    pub(in super::super) apart: Option<&'static str>,
}

/// One writer's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

/// All writers of an object, each once. None: nobody keeps track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Owners {
    pub(super) entries: Vec<Entry>,
}

impl Entry {
    fn read(value: &Value) -> Result<Self, String> {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let operation = match value["operation"].as_str() {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() || text("fieldsType") != FIELDS_TYPE {
            return Err("an entry needs an apiVersion, and the fieldsType FieldsV1".to_owned());
        }
        let fields = match &value["fieldsV1"] {
            Value::Null => FieldSet::default(),
            fields => FieldSet::read(fields)?,
        };
        Ok(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value["time"].as_str().map(str::to_owned),
            fields,
        })
    }

    fn to_value(&self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = Map::new();
        entry.insert("manager".into(), self.manager.clone().into());
        entry.insert("operation".into(), operation.into());
        entry.insert("apiVersion".into(), self.api_version.clone().into());
        if let Some(time) = &self.time {
            entry.insert("time".into(), time.clone().into());
        }
        entry.insert("fieldsType".into(), FIELDS_TYPE.into());
        entry.insert("fieldsV1".into(), self.fields.to_value());
        if !self.subresource.is_empty() {
            entry.insert("subresource".into(), self.subresource.clone().into());
        }
        Value::Object(entry)
    }

    /// Whether it is this writer's. Who applies stays the same in another version.
    pub(super) fn is_of(&self, writer: &Writer) -> bool {
        let same_version =
            self.operation == Operation::Apply || self.api_version == writer.api_version;
        (&self.manager, self.operation, &self.subresource)
            == (&writer.manager, writer.operation, &writer.subresource)
            && same_version
    }

    /// As conflicts call it.
    pub(super) fn describe(&self) -> String {
        let mut text = Value::from(self.manager.as_str()).to_string();
        if !self.subresource.is_empty() {
            text += &format!(" with subresource \"{}\"", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }
}

impl Writer {
    pub(super) fn entry(&self, fields: FieldSet) -> Entry {
        Entry {
            manager: self.manager.clone(),
            operation: self.operation,
            api_version: self.api_version.clone(),
            subresource: self.subresource.clone(),
            time: Some(self.time.clone()),
            fields,
        }
    }
}

impl Owners {
    /// Those that an object names. `None`: it names none, or what it says is malformed; it is no
    /// reason to refuse the object, since few who write know of it.
    pub(in super::super) fn of(object: &Value) -> Option<Self> {
        let list = object["metadata"]["managedFields"].as_array()?;
        let entries: Result<Vec<Entry>, String> = list.iter().map(Entry::read).collect();
        let entries = entries.ok().filter(|entries| !entries.is_empty())?;
        Some(Self { entries })
    }

    /// Whether an object asks that all be forgotten: an empty list, or one empty entry.
    pub(in super::super) fn is_reset(object: &Value) -> bool {
        let list = object["metadata"]["managedFields"].as_array().map(Vec::as_slice);
        match list {
            Some([]) => true,
            Some([only]) => *only == json!({}),
            _ => false,
        }
    }

    /// Writes them into `after`, which takes the place of `before`. If all is as it was but for the
    /// time, the time is too: nothing is to be stored.
    pub(in super::super) fn write(&self, before: &Value, after: &mut Value) {
        let was = Self::of(before).unwrap_or_default();
        if *self == was || self.without_times() == was.without_times() {
            let old = before["metadata"]["managedFields"].clone();
            let mut same = after.clone();
            put(&mut same, Some(old).filter(Value::is_array));
            if same == *before || *self == was {
                *after = same;
                return;
            }
        }
        let list: Vec<Value> = self.entries.iter().map(Entry::to_value).collect();
        put(after, Some(list).filter(|list| !list.is_empty()).map(Value::Array));
    }

    fn without_times(&self) -> Self {
        let mut owners = self.clone();
        owners.entries.iter_mut().for_each(|entry| entry.time = None);
        owners.sort();
        owners
    }

    /// Takes fields from everybody, and forgets who has none left.
    pub(super) fn take(&mut self, fields: &FieldSet) {
        for entry in &mut self.entries {
            entry.fields = entry.fields.minus(fields);
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// Those who apply first, then the older before the newer.
    pub(super) fn sort(&mut self) {
        self.entries.sort_by(|one, two| {
            let key = |entry: &Entry| (entry.operation, entry.time.clone().unwrap_or_default());
            let names = |entry: &Entry| {
                (entry.manager.clone(), entry.api_version.clone(), entry.subresource.clone())
            };
            key(one).cmp(&key(two)).then_with(|| names(one).cmp(&names(two)))
        });
    }

    /// Keeps the number of writers bounded: what the oldest set becomes one entry a version.
    pub(super) fn cap(&mut self) {
        self.sort();
        let is_updater = |entry: &Entry| entry.operation == Operation::Update;
        let updaters = self.entries.iter().filter(|entry| is_updater(entry)).count();
        let excess = updaters.saturating_sub(UPDATERS_MAX);
        if excess == 0 {
            return;
        }
        // One more than are too many: they become one.
        let mut old: Vec<usize> = (0..self.entries.len())
            .filter(|at| is_updater(&self.entries[*at]))
            .take(excess + 1)
            .collect();
        old.sort_unstable_by_key(|at| Reverse(*at));
        let old: Vec<Entry> = old.into_iter().map(|at| self.entries.remove(at)).collect();
        for entry in old {
            let same = |one: &&mut Entry| {
                one.manager == OLDER && is_updater(one) && one.api_version == entry.api_version
            };
            match self.entries.iter_mut().find(same) {
                Some(bucket) => {
                    bucket.fields = bucket.fields.union(&entry.fields);
                    bucket.time = bucket.time.take().max(entry.time);
                }
                None => self.entries.push(Entry {
                    manager: OLDER.to_owned(),
                    subresource: String::new(),
                    ..entry
                }),
            }
        }
        self.sort();
    }
}

fn put(object: &mut Value, list: Option<Value>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    match list {
        Some(list) => drop(metadata.insert("managedFields".into(), list)),
        None => drop(metadata.shift_remove("managedFields")),
    }
}
