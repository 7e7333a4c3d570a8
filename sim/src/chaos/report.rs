//! What came of a run, as a person reads it.

use std::collections::BTreeMap;
use std::fmt;

use super::{OPERATIONS_PER_S_MIN, Options};
use crate::history::{History, Outcome};

#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub members: usize,
    /// Answers a second before the first fault.
    pub operations_per_s: u64,
    /// Faults that really fired, how often each.
    pub fired: BTreeMap<String, u64>,
    /// What this machine does not permit, and why.
    pub missing: BTreeMap<&'static str, String>,
    pub operations: BTreeMap<&'static str, u64>,
    /// Every watch heard of everything in the end.
    pub served: bool,
    pub violations: Vec<String>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Report {
        Report {
            seed: options.seed,
            members: options.members,
            operations_per_s: 0,
            fired: BTreeMap::new(),
            missing: BTreeMap::new(),
            operations: BTreeMap::new(),
            served: false,
            violations: Vec::new(),
        }
    }

    pub(super) fn missing(&mut self, what: &'static str, why: String) {
        self.missing.insert(what, why);
    }

    pub(super) fn fired(&mut self, what: &str) {
        *self.fired.entry(what.to_owned()).or_default() += 1;
    }

    pub(super) fn count(&mut self, history: &History) {
        for operation in history.operations.lock().iter() {
            let what = match operation.outcome {
                Outcome::Unknown => "of unknown outcome",
                Outcome::Refused => "refused",
                _ => "answered",
            };
            *self.operations.entry(what).or_default() += 1;
        }
        let events = history.watches.lock().iter().map(crate::history::Watch::events).sum();
        self.operations.insert("watch events", events);
        self.operations.insert("leases", history.leases.lock().len() as u64);
        let truth = history.truth.lock();
        self.operations.insert("revisions", truth.changes.len() as u64);
        self.operations.insert("compactions asked for", truth.compactions.len() as u64);
    }

    /// Enough was asked before the first fault for the rest to mean something.
    pub fn counts(&self) -> bool {
        self.operations_per_s >= OPERATIONS_PER_S_MIN
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} members", self.seed, self.members)?;
        writeln!(f, "{} answers a second before the first fault", self.operations_per_s)?;
        writeln!(f, "operations: {:?}", self.operations)?;
        writeln!(f, "faults that fired: {:?}", self.fired)?;
        for (what, why) in &self.missing {
            writeln!(f, "SKIPPED {what}: {why}")?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION of {violation}")?;
        }
        if !self.counts() {
            writeln!(
                f,
                "this run does not count: fewer than {OPERATIONS_PER_S_MIN} answers a second"
            )?;
        }
        write!(f, "{} violations", self.violations.len())
    }
}
