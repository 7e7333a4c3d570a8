//! What everything in one simulated world shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::chance::Chance;
use crate::history::History;
use crate::log::Log;
use crate::network::Network;

/// More of one run tell nothing new.
const VIOLATIONS_MAX: usize = 8;

/// Clones are the same world.
#[derive(Clone)]
pub(crate) struct World {
    pub chance: Chance,
    pub log: Log,
    pub network: Network,
    pub history: History,
    found: Arc<Mutex<Found>>,
}

#[derive(Default)]
struct Found {
    violations: Vec<Violation>,
    /// What happened how often.
    counts: BTreeMap<&'static str, u64>,
}

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The oracle that saw it.
    pub of: &'static str,
    pub what: String,
}

impl World {
    pub(crate) fn new(seed: u64, keep_log: bool) -> World {
        let (chance, log) = (Chance::new(seed), Log::new(keep_log));
        World {
            network: Network::new(log.clone(), chance.clone()),
            history: History::new(log.clone()),
            chance,
            log,
            found: Arc::default(),
        }
    }

    pub(crate) fn violation(&self, of: &'static str, what: String) {
        self.log.line(format_args!("VIOLATION of {of}: {what}"));
        let violation = Violation { of, what };
        let violations = &mut self.found.lock().violations;
        if violations.len() < VIOLATIONS_MAX && !violations.contains(&violation) {
            violations.push(violation);
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.found.lock().violations.clone()
    }

    pub(crate) fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&self, what: &'static str, count: u64) {
        *self.found.lock().counts.entry(what).or_default() += count;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.found.lock().counts.clone()
    }
}
