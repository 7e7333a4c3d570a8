//! The values that were set, wherever they came from.

use std::collections::BTreeMap;

use super::aliases::{self, Meaning};
use super::table::{self, Flag};

/// Canonical values by flag name, and what is to be said about them at start.
#[derive(Debug, Default)]
pub struct Values {
    set: BTreeMap<&'static str, String>,
    /// Warnings found while reading: old names, unknown environment variables.
    pub warnings: Vec<String>,
    /// Said at start without being a reason to act.
    pub remarks: Vec<String>,
}

/// Why a value was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum SetError {
    Unknown,
    /// The reason, in Go's or etcd's words.
    Invalid(String),
}

impl Values {
    /// Sets a flag by its present or an old name. The last value of a flag counts; the gates of
    /// several old names add up.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SetError> {
        if let Some(flag) = table::find(name) {
            return self.set_flag(flag, value);
        }
        match aliases::resolve(name).ok_or(SetError::Unknown)? {
            Meaning::Flag(flag) => {
                self.set_flag(flag, value)?;
                self.warnings.push(format!("--{name} is an old name; use --{} instead", flag.name));
            }
            Meaning::Gate(gate) => {
                let value = super::value::Kind::Bool.canonical(value).map_err(SetError::Invalid)?;
                self.add_gate(&format!("{gate}={value}"));
                self.warnings.push(format!(
                    "--{name} is an old name; use --feature-gates={gate}={value} instead"
                ));
            }
        }
        Ok(())
    }

    fn set_flag(&mut self, flag: &'static Flag, value: &str) -> Result<(), SetError> {
        let value = flag.kind.canonical(value).map_err(SetError::Invalid)?;
        self.set.insert(flag.name, value);
        Ok(())
    }

    fn add_gate(&mut self, gate: &str) {
        let gates = self.set.entry("feature-gates").or_default();
        if !gates.is_empty() {
            gates.push(',');
        }
        gates.push_str(gate);
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// The canonical value, set or default.
    pub fn get(&self, name: &str) -> String {
        let flag = table::find(name).expect("only flags of the table are asked for");
        match self.set.get(flag.name) {
            Some(value) => value.clone(),
            None => default_of(flag),
        }
    }

    /// Flags whose value differs from their default.
    pub fn changed(&self) -> impl Iterator<Item = (&'static Flag, &str)> {
        self.set.iter().filter_map(|(name, value)| {
            let flag = table::find(name)?;
            (*value != default_of(flag)).then_some((flag, value.as_str()))
        })
    }

    /// Flags that were set at all, to whatever value.
    pub fn given(&self) -> impl Iterator<Item = &'static Flag> {
        self.set.keys().filter_map(|name| table::find(name))
    }
}

fn default_of(flag: &Flag) -> String {
    flag.kind.canonical(flag.default).expect("defaults are valid: a test walks the table")
}
