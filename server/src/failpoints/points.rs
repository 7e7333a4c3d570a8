//! Which points there are, and what each is set to.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::chain::Chain;
use super::gate::Gate;
use super::names::NAMES;

/// Clones share them.
#[derive(Clone, Default)]
pub(super) struct Points {
    /// Those that are set; the table that the places look in is `fail`'s own.
    set: Arc<Mutex<BTreeMap<&'static str, Arc<Chain>>>>,
    pub(super) gate: Gate,
}

/// In gofail's words.
#[derive(Debug, PartialEq)]
pub(super) enum Error {
    NoSuchPoint,
    NotSet,
    BadTerm(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NoSuchPoint => f.write_str("failpoint: failpoint does not exist"),
            Error::NotSet => f.write_str("failpoint: failpoint is disabled"),
            Error::BadTerm(why) => write!(f, "failpoint: could not parse terms: {why}"),
        }
    }
}

impl Points {
    pub(super) fn new() -> Points {
        Points::default()
    }

    /// Sets what the environment says. A point that is not here is left out with a warning, as a
    /// harness for etcd may name some.
    ///
    /// # Errors
    /// Which part is wrong: a test with it would prove nothing.
    pub(super) fn set_first(&self, list: &str) -> Result<(), String> {
        for (name, terms) in parse_list(list)? {
            match self.set(name, terms) {
                Ok(()) => {}
                Err(Error::NoSuchPoint) => tracing::warn!(name, "there is no such failpoint"),
                Err(error) => return Err(format!("{name}={terms}: {error}")),
            }
        }
        Ok(())
    }

    pub(super) fn set(&self, name: &str, terms: &str) -> Result<(), Error> {
        let name = known(name)?;
        let chain = Arc::new(Chain::new(terms).map_err(Error::BadTerm)?);
        self.set.lock().insert(name, chain.clone());
        let gate = self.gate.clone();
        let passed = move || {
            gate.pass();
            chain.pass(name);
        };
        fail::cfg_callback(name, passed).map_err(Error::BadTerm)
    }

    pub(super) fn unset(&self, name: &str) -> Result<(), Error> {
        let name = known(name)?;
        self.set.lock().remove(name).ok_or(Error::NotSet)?;
        fail::remove(name);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Result<Arc<Chain>, Error> {
        let name = known(name)?;
        self.set.lock().get(name).cloned().ok_or(Error::NotSet)
    }

    /// `name=terms` of each, a line each.
    pub(super) fn list(&self) -> String {
        let set = self.set.lock();
        let terms = |name: &str| set.get(name).map_or("", |chain| chain.text());
        NAMES.iter().map(|name| format!("{name}={}\n", terms(name))).collect()
    }
}

fn known(name: &str) -> Result<&'static str, Error> {
    NAMES.iter().find(|known| **known == name).copied().ok_or(Error::NoSuchPoint)
}

/// Reads `name=terms;name=terms`.
///
/// # Errors
/// Which part is none.
pub(super) fn parse_list(list: &str) -> Result<Vec<(&str, &str)>, String> {
    let parts = list.split(';').filter(|part| !part.is_empty());
    parts
        .map(|part| part.split_once('=').ok_or_else(|| format!("bad failpoint {part:?}")))
        .collect()
}
