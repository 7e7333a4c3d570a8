//! What is different between two versions of a document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::collect::collect;
use super::schema::{Place, Shape};
use super::set::FieldSet;
use super::step::Step;

/// The fields that the later version no longer has, has with another value, and has anew.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

/// What leads from one version to the other. Null counts as absent.
pub(super) fn compare(before: &Value, after: &Value) -> Changes {
    let mut walk = Walk { changes: Changes::default(), path: Vec::new() };
    walk.visit(Place::root(), Some(before), Some(after));
    walk.changes
}

/// The fields that one document says and the other has with the same values.
pub(in super::super) fn same(one: &Value, other: &Value) -> FieldSet {
    collect(one).minus(&compare(one, other).all())
}

impl Changes {
    /// What the later version says that the earlier did not.
    pub(super) fn said(&self) -> FieldSet {
        self.modified.union(&self.added)
    }

    pub(super) fn all(&self) -> FieldSet {
        self.said().union(&self.removed)
    }

    /// Leaves a field of the document out of account.
    pub(super) fn ignore(&mut self, name: &str) {
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            set.drop_root(name);
        }
    }
}

struct Walk {
    changes: Changes,
    path: Vec<Step>,
}

impl Walk {
    fn visit(&mut self, place: Place<'_>, before: Option<&Value>, after: Option<&Value>) {
        let there = |value: &&Value| !value.is_null();
        let (before, after) = (before.filter(there), after.filter(there));
        if before == after {
            return;
        }
        let is_empty = |value: Option<&Value>| match value {
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Array(elements)) => elements.is_empty(),
            value => value.is_none(),
        };
        let shape = |value: Option<&Value>| value.map(|value| place.shape(value));
        match (shape(before), shape(after)) {
            _ if is_empty(before) && is_empty(after) => self.note(before, after),
            (Some(Shape::Object) | None, Some(Shape::Object) | None) => {
                self.visit_object(place, before, after);
            }
            (Some(Shape::List(_)) | None, Some(Shape::List(_)) | None) => {
                self.visit_list(place, before, after);
            }
            _ => return self.note(before, after),
        }
        if (before.is_none() || after.is_none()) && !place.is_always_there() {
            self.note(before, after);
        }
    }

    fn visit_object(&mut self, place: Place<'_>, before: Option<&Value>, after: Option<&Value>) {
        let nothing = Map::new();
        let before = before.and_then(Value::as_object).unwrap_or(&nothing);
        let after = after.and_then(Value::as_object).unwrap_or(&nothing);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            self.path.push(Step::field(name));
            self.visit(place.field(name), before.get(name), after.get(name));
            self.path.pop();
        }
    }

    fn visit_list(&mut self, place: Place<'_>, before: Option<&Value>, after: Option<&Value>) {
        let (before, after) = (by_step(place, before), by_step(place, after));
        let steps: BTreeSet<&Step> = before.keys().chain(after.keys()).collect();
        for step in steps {
            let one = before.get(step).map_or(&[][..], Vec::as_slice);
            let two = after.get(step).map_or(&[][..], Vec::as_slice);
            self.path.push(step.clone());
            if one.len() > 1 || two.len() > 1 {
                if one != two {
                    self.note(one.first().copied(), two.first().copied());
                }
            } else {
                self.visit(place.element(), one.first().copied(), two.first().copied());
            }
            self.path.pop();
        }
    }

    fn note(&mut self, before: Option<&Value>, after: Option<&Value>) {
        let set = match (before, after) {
            (None, _) => &mut self.changes.added,
            (_, None) => &mut self.changes.removed,
            _ => &mut self.changes.modified,
        };
        set.insert(&self.path);
    }
}

/// The elements of a list by their steps.
fn by_step<'v>(place: Place<'_>, value: Option<&'v Value>) -> BTreeMap<Step, Vec<&'v Value>> {
    let mut found: BTreeMap<Step, Vec<&Value>> = BTreeMap::new();
    if let Some(Value::Array(elements)) = value
        && let Some(Shape::List(steps)) = value.map(|value| place.shape(value))
    {
        for (step, element) in steps.into_iter().zip(elements) {
            found.entry(step).or_default().push(element);
        }
    }
    found
}
