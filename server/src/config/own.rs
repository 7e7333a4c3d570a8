//! Flags that are berth's own. They are taken out of the command line before etcd's are read, and each
//! may be given as `BERTH_NAME` in the environment too.

use std::ffi::{OsStr, OsString};

/// What was given of some flags.
pub(crate) struct OwnFlags<'a> {
    values: Vec<(&'static str, String)>,
    environment: &'a [(String, String)],
}

impl<'a> OwnFlags<'a> {
    /// Takes the flags of these names out of `arguments`.
    ///
    /// # Errors
    /// One line: the last one has no value.
    pub(crate) fn take(
        names: &'static [&'static str],
        arguments: &mut Vec<OsString>,
        environment: &'a [(String, String)],
    ) -> Result<Self, String> {
        let mut values = Vec::new();
        let mut rest = Vec::new();
        let mut all = std::mem::take(arguments).into_iter();
        while let Some(argument) = all.next() {
            let Some((name, value)) = own(names, &argument) else {
                rest.push(argument);
                continue;
            };
            let value = match value {
                Some(value) => value,
                None => {
                    let next = all.next().and_then(|next| next.into_string().ok());
                    next.ok_or_else(|| format!("--{name} needs a value"))?
                }
            };
            values.push((name, value));
        }
        *arguments = rest;
        Ok(Self { values, environment })
    }

    /// The last value of a flag, else that of the environment; what is empty was not given.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let given = self.values.iter().rev().find(|(own, _)| *own == name);
        let variable = || {
            let variable = format!("BERTH_{}", name.to_uppercase().replace('-', "_"));
            let found = self.environment.iter().find(|(key, _)| *key == variable);
            found.map(|(_, value)| value.clone())
        };
        given.map(|(_, value)| value.clone()).or_else(variable).filter(|value| !value.is_empty())
    }
}

/// The name of a flag of ours, and its value if that is in the same word.
fn own(names: &'static [&'static str], argument: &OsStr) -> Option<(&'static str, Option<String>)> {
    let text = argument.to_str()?;
    let text = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    names.iter().find(|own| **own == name).map(|own| (*own, value))
}
