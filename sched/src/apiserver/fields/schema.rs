//! What a value is to ownership: a leaf, which one manager has whole, or something to go into.
//!
//! Kubernetes knows by the schemas of its types; here names decide, together with the table of
//! strategic merge patches. A list that no table names is a leaf.

use serde_json::Value;

use super::super::patch::{is_set, merge_key};
use super::step::Step;

/// Objects that are set as a whole.
const WHOLE: [&str; 14] = [
    "selector",
    "labelSelector",
    "namespaceSelector",
    "nodeSelector",
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
    "secretRef",
    "targetRef",
    "involvedObject",
    "related",
    "roleRef",
    "requiredDuringSchedulingIgnoredDuringExecution",
];
/// Lists whose elements are set as a whole.
const WHOLE_ELEMENTS: [&str; 3] = ["ownerReferences", "imagePullSecrets", "secrets"];

/// Fields that objects of Kubernetes' types have even if nothing is in them: they begin with
/// nobody.
const ALWAYS_THERE: [&str; 7] =
    ["metadata", "spec", "status", "template", "jobTemplate", "strategy", "containers"];

/// How many steps a path has at most: what is further down goes with what it is in. Kubernetes' types
/// are not half as deep; what is stored must stay as deep as can be read.
pub(super) const DEPTH_MAX: usize = 64;

/// Where a value is: the names of its field and of the field around it. An element of a list is
/// at the place of the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    parent: &'a str,
    name: &'a str,
    is_element: bool,
    /// Steps from the document to here.
    depth: usize,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Leaf,
    Object,
    /// The step to each element; elements may share one.
    List(Vec<Step>),
}

impl<'a> Place<'a> {
    /// The document itself.
    pub(super) fn root() -> Self {
        Self { parent: "", name: "", is_element: false, depth: 0 }
    }

    pub(super) fn field(self, name: &'a str) -> Self {
        Self { parent: self.name, name, is_element: false, depth: self.depth + 1 }
    }

    pub(super) fn element(self) -> Self {
        Self { is_element: true, depth: self.depth + 1, ..self }
    }

    pub(super) fn is_always_there(self) -> bool {
        !self.is_element && ALWAYS_THERE.contains(&self.name)
    }

    pub(super) fn shape(self, value: &Value) -> Shape {
        match value {
            _ if self.depth >= DEPTH_MAX => Shape::Leaf,
            Value::Object(_) if self.is_whole() => Shape::Leaf,
            Value::Object(_) => Shape::Object,
            Value::Array(list) if !self.is_element => {
                self.steps(list).map_or(Shape::Leaf, Shape::List)
            }
            _ => Shape::Leaf,
        }
    }

    fn is_whole(self) -> bool {
        let names = if self.is_element { &WHOLE_ELEMENTS[..] } else { &WHOLE };
        names.contains(&self.name)
    }

    /// Whether the elements of a list here are told apart.
    pub(super) fn has_elements(self) -> bool {
        !self.is_element && self.depth < DEPTH_MAX && (self.is_set() || !self.keys().is_empty())
    }

    /// `None`: it is no list to go into, or an element has no name.
    fn steps(self, list: &[Value]) -> Option<Vec<Step>> {
        if self.is_set() {
            let is_plain =
                |value: &Value| !value.is_object() && !value.is_array() && !value.is_null();
            return list.iter().map(|one| is_plain(one).then(|| Step::value(one))).collect();
        }
        let keys = self.keys();
        if keys.is_empty() {
            return None;
        }
        list.iter().map(|element| step(&keys, element)).collect()
    }

    fn is_set(self) -> bool {
        self.parent == "metadata" && is_set(self.name)
    }

    /// What tells the elements of a list apart: as in strategic merge patches, and sometimes
    /// something more.
    fn keys(self) -> Vec<Key> {
        let first = match (self.parent, self.name) {
            // Those of endpoint slices, and of service accounts.
            ("", "ports" | "imagePullSecrets") => None,
            (parent, name) => merge_key(parent, name),
        };
        let Some(first) = first else { return Vec::new() };
        let mut keys = vec![Key { name: first, default: None }];
        match first {
            "port" | "containerPort" => keys.push(Key { name: "protocol", default: Some("TCP") }),
            "topologyKey" => keys.push(Key { name: "whenUnsatisfiable", default: None }),
            _ => {}
        }
        keys
    }
}

struct Key {
    name: &'static str,
    /// What it is if an element does not say.
    default: Option<&'static str>,
}

fn step(keys: &[Key], element: &Value) -> Option<Step> {
    // The first one must be said.
    element.get(keys.first()?.name).filter(|value| !value.is_null())?;
    let said = keys.iter().filter_map(|key| {
        let value = element.get(key.name).filter(|value| !value.is_null()).cloned();
        Some((key.name, value.or_else(|| key.default.map(Value::from))?))
    });
    Some(Step::element(said))
}
