//! Makes one known mistake after the other, and shows how many seeds it takes to find each.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use comfy_table::{Table, presets};
use parking_lot::Mutex;
use store::planted::{self, Mistake};

/// A run takes a second or two, in a debug build on a busy machine a quarter of a minute.
const RUN_MAX: Duration = Duration::from_secs(120);
/// What a mistake leaves behind may be such that a step of a member never ends.
pub const NO_END: &str = "a run that does not end";
/// The simulator itself failed.
pub const NO_REPORT: &str = "a run without a report";

/// How a mistake was found.
#[derive(Clone, Debug)]
pub struct Finding {
    pub mistake: Mistake,
    /// Seeds that were run; in the last one its witness saw it, if in any.
    pub seeds: u64,
    /// The oracles that saw something in the last one, in the order in which they did.
    pub oracles: Vec<&'static str>,
    /// What they see in the same seed without the mistake: nothing, if they are right.
    pub without: Vec<&'static str>,
}

impl Finding {
    /// Its witness saw it, and nobody sees anything without it.
    pub fn is_right(&self) -> bool {
        self.oracles.contains(&witness(self.mistake)) && self.without.is_empty()
    }
}

/// Who has to see it, whoever else does: the oracle of the promise that it breaks.
pub fn witness(mistake: Mistake) -> &'static str {
    match mistake {
        Mistake::AcknowledgeBeforeSync | Mistake::StaleRead | Mistake::ProposeTwice => {
            "linearizability"
        }
        Mistake::SkipCrc | Mistake::PurgeEarly | Mistake::ReuseRevision => "members go on",
        Mistake::ForgetVote | Mistake::SubQuorum => "membership",
        Mistake::LeaveLeaseKey | Mistake::WrongClock => "leases",
        Mistake::DropEvent | Mistake::SilentCompaction | Mistake::ProgressAhead => "watches",
    }
}

/// Looks for each of `mistakes`, `jobs` at a time; the findings are in their order.
pub fn find_all(mistakes: &[Mistake], first: u64, seeds_max: u64, jobs: usize) -> Vec<Finding> {
    let waiting = Mutex::new(mistakes.iter().copied().enumerate());
    let found = Mutex::new(Vec::new());
    let next = || waiting.lock().next();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((place, mistake)) = next() {
                    let finding = find(mistake, first, seeds_max);
                    found.lock().push((place, finding));
                }
            });
        }
    });
    let mut found = found.into_inner();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, finding)| finding).collect()
}

/// Runs seeds from `first` on, `seeds_max` at most, until its witness sees the mistake.
fn find(mistake: Mistake, first: u64, seeds_max: u64) -> Finding {
    let mut finding = Finding { mistake, seeds: 0, oracles: Vec::new(), without: Vec::new() };
    while finding.seeds < seeds_max && !finding.oracles.contains(&witness(mistake)) {
        finding.oracles = run_with(Some(mistake), first + finding.seeds);
        finding.seeds += 1;
    }
    finding.without = run_with(None, first + finding.seeds - 1);
    finding
}

/// Who saw something, in this seed. Each run has a thread of its own, which is left to itself if it
/// does not end.
fn run_with(mistake: Option<Mistake>, seed: u64) -> Vec<&'static str> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        planted::make(mistake);
        let report = crate::run(seed, false);
        let mut oracles = Vec::new();
        for violation in report.violations {
            if !oracles.contains(&violation.of) {
                oracles.push(violation.of);
            }
        }
        // Nobody waits any more if it took too long.
        let _ = tx.send(oracles);
    });
    rx.recv_timeout(RUN_MAX).unwrap_or_else(|error| match error {
        RecvTimeoutError::Timeout => vec![NO_END],
        RecvTimeoutError::Disconnected => vec![NO_REPORT],
    })
}

/// All of them, as a person reads it.
pub fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["mistake", "found after seeds", "seen by"]);
    for finding in findings {
        let Finding { mistake, seeds, oracles, .. } = finding;
        let is_found = oracles.contains(&witness(*mistake));
        let found = if is_found { seeds.to_string() } else { format!("not in {seeds}") };
        table.add_row([format!("{mistake:?}"), found, oracles.join(", ")]);
    }
    table.to_string()
}
