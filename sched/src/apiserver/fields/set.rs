//! Sets of fields.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::step::Step;

/// A set of paths, as a tree. A path may be in it without those below it, and the other way round.
///
/// Invariant: what is below a step is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct FieldSet {
    /// Whether the path that leads here is in the set.
    pub(super) is_member: bool,
    below: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    pub(in super::super) fn is_empty(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }

    pub(super) fn insert(&mut self, path: &[Step]) {
        match path {
            [] => self.is_member = true,
            [step, rest @ ..] => self.below.entry(step.clone()).or_default().insert(rest),
        }
    }

    /// A set of paths of plain fields: `metadata.name`.
    pub(super) fn of(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Step> = path.split('.').map(Step::field).collect();
            set.insert(&path);
        }
        set
    }

    #[cfg(test)]
    pub(super) fn has(&self, path: &[Step]) -> bool {
        match path {
            [] => self.is_member,
            [step, rest @ ..] => self.below.get(step).is_some_and(|below| below.has(rest)),
        }
    }

    /// What is at and below a step.
    pub(super) fn at(&self, step: &Step) -> Option<&Self> {
        self.below.get(step)
    }

    /// Drops a field of the document with all that is below it.
    pub(super) fn drop_root(&mut self, name: &str) {
        self.below.remove(&Step::field(name));
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        self.combined(other, |one, two| one || two)
    }

    /// Without exactly the paths of the other: what is below them stays.
    pub(super) fn minus(&self, other: &Self) -> Self {
        self.combined(other, |one, two| one && !two)
    }

    pub(super) fn common(&self, other: &Self) -> Self {
        self.combined(other, |one, two| one && two)
    }

    fn combined(&self, other: &Self, is_in: fn(bool, bool) -> bool) -> Self {
        let nothing = Self::default();
        let steps: BTreeSet<&Step> = self.below.keys().chain(other.below.keys()).collect();
        let mut below = BTreeMap::new();
        for step in steps {
            let (one, two) = (self.at(step), other.at(step));
            let both = one.unwrap_or(&nothing).combined(two.unwrap_or(&nothing), is_in);
            if !both.is_empty() {
                below.insert(step.clone(), both);
            }
        }
        Self { is_member: is_in(self.is_member, other.is_member), below }
    }

    /// With the fields that lead to members as members too: who has `a.b` keeps `a` there.
    pub(super) fn with_parents(&self) -> Self {
        let mut below = BTreeMap::new();
        for (step, set) in &self.below {
            let mut set = set.with_parents();
            set.is_member |= step.is_field();
            below.insert(step.clone(), set);
        }
        Self { is_member: self.is_member, below }
    }

    /// The members that nothing is below.
    pub(super) fn leaves(&self) -> Self {
        let below = self.below.iter().map(|(step, set)| (step.clone(), set.leaves()));
        let below: BTreeMap<_, _> = below.filter(|(_, set)| !set.is_empty()).collect();
        Self { is_member: self.is_member && self.below.is_empty(), below }
    }

    /// The same, but of what is at and below a field of the document only what the other has.
    pub(super) fn confine(&mut self, name: &str, to: &Self) {
        let step = Step::field(name);
        let (Some(set), to) = (self.below.remove(&step), to.at(&step)) else { return };
        let both = set.common(to.unwrap_or(&Self::default()));
        if !both.is_empty() {
            self.below.insert(step, both);
        }
    }

    /// All paths, each before those below it.
    pub(super) fn paths(&self) -> Vec<Vec<Step>> {
        let mut paths = Vec::new();
        self.walk(&mut Vec::new(), &mut paths);
        paths
    }

    fn walk(&self, path: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
        if self.is_member {
            paths.push(path.clone());
        }
        for (step, set) in &self.below {
            path.push(step.clone());
            set.walk(path, paths);
            path.pop();
        }
    }

    /// Reads `fieldsV1`.
    ///
    /// # Errors
    /// A step is malformed.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let mut set = Self::read_node(value)?;
        set.is_member = false;
        Ok(set)
    }

    fn read_node(value: &Value) -> Result<Self, String> {
        let steps = value.as_object().ok_or_else(|| format!("{value} is no set of fields"))?;
        let mut set = Self { is_member: steps.is_empty(), below: BTreeMap::new() };
        for (step, value) in steps {
            if step == "." {
                set.is_member = true;
            } else {
                set.below.insert(Step::parse(step)?, Self::read_node(value)?);
            }
        }
        Ok(set)
    }

    /// As `fieldsV1` has it: a path that is in the set alone is `{}`; beside others it is `.`.
    pub(super) fn to_value(&self) -> Value {
        let mut object = Map::new();
        if self.is_member && !self.below.is_empty() {
            object.insert(".".to_owned(), json!({}));
        }
        for (step, set) in &self.below {
            object.insert(step.as_str().to_owned(), set.to_value());
        }
        Value::Object(object)
    }
}
