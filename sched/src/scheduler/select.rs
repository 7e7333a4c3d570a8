//! Selectors: by the labels of pods, and by the labels and names of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub type Labels = BTreeMap<String, String>;

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// One that nobody knows: nothing fulfils it.
    Unknown,
}

impl Requirement {
    fn new(key: &str, operator: &str, values: Option<&Vec<String>>) -> Self {
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            _ => Operator::Unknown,
        };
        let mut values = values.cloned().unwrap_or_default();
        values.sort_unstable();
        Self { key: key.to_owned(), operator, values }
    }

    fn is_one(key: &str, operator: Operator, value: &str) -> Self {
        Self { key: key.to_owned(), operator, values: vec![value.to_owned()] }
    }

    fn holds(&self, value: Option<&String>) -> bool {
        let is_listed = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_listed(),
            Operator::NotIn => !is_listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self.compare(value, |found, bound| found > bound),
            Operator::Lt => self.compare(value, |found, bound| found < bound),
            Operator::Unknown => false,
        }
    }

    fn compare(&self, value: Option<&String>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
        match (number(value), number(self.values.first())) {
            (Some(found), Some(bound)) => holds(found, bound),
            _ => false,
        }
    }
}

/// Requirements that must all hold. `None` selects nothing, no requirement selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector(Option<Vec<Requirement>>);

impl Selector {
    pub fn new(selector: Option<&LabelSelector>) -> Self {
        let Some(selector) = selector else { return Self(None) };
        let mut all: Vec<Requirement> = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            all.push(Requirement::is_one(key, Operator::In, value));
        }
        for one in selector.match_expressions.iter().flatten() {
            all.push(Requirement::new(&one.key, &one.operator, one.values.as_ref()));
        }
        all.sort_unstable();
        Self(Some(all))
    }

    /// Narrows it to what has the same values as `labels` of these keys, or (`is_equal` false)
    /// other values. Keys that are not among the labels change nothing, as in Kubernetes.
    pub fn narrow(&mut self, keys: Option<&Vec<String>>, labels: &Labels, is_equal: bool) {
        let Some(all) = self.0.as_mut() else { return };
        let operator = if is_equal { Operator::In } else { Operator::NotIn };
        let known = keys.into_iter().flatten().filter_map(|key| labels.get_key_value(key));
        all.extend(known.map(|(key, value)| Requirement::is_one(key, operator, value)));
        all.sort_unstable();
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        let Some(all) = self.0.as_ref() else { return false };
        all.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

/// One alternative of a node affinity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    /// On the node's name, the one field there is.
    fields: Vec<Requirement>,
}

impl NodeTerm {
    pub fn new(term: &NodeSelectorTerm) -> Self {
        let all = |list: &Option<Vec<NodeSelectorRequirement>>| {
            let list = list.iter().flatten();
            list.map(|one| Requirement::new(&one.key, &one.operator, one.values.as_ref())).collect()
        };
        Self { labels: all(&term.match_expressions), fields: all(&term.match_fields) }
    }

    /// An empty alternative selects no node, as in Kubernetes.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        let name = name.to_owned();
        self.labels.iter().all(|one| one.holds(labels.get(&one.key)))
            && self.fields.iter().all(|one| one.key == "metadata.name" && one.holds(Some(&name)))
    }

    /// The nodes that this names and, if there is any, what else it asks of them. `None`: it asks
    /// something else of their names, or nothing.
    pub fn split_names(&self) -> Option<(Vec<String>, Option<Self>)> {
        let [field] = self.fields.as_slice() else { return None };
        if field.operator != Operator::In || field.key != "metadata.name" {
            return None;
        }
        let rest = Self { labels: self.labels.clone(), fields: Vec::new() };
        Some((field.values.clone(), (!rest.labels.is_empty()).then_some(rest)))
    }
}
