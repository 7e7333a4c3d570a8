//! Makes one known mistake after the other, and shows how many seeds it takes to find each.

use std::sync::mpsc;
use std::time::Duration;

use comfy_table::{Table, presets};
use store::planted::{self, Mistake};

/// A run takes a second or two.
const RUN_MAX: Duration = Duration::from_secs(20);
const NO_END: &str = "a run that does not end";

/// How a mistake was found.
#[derive(Clone, Debug)]
pub struct Finding {
    pub mistake: Mistake,
    /// Seeds that were run; the last one found it, if it was found.
    pub seeds: u64,
    /// The oracle that saw it first; `None`: nobody did.
    pub oracle: Option<&'static str>,
}

/// Runs seeds from `first` on, `seeds_max` at most, until one shows the mistake.
pub fn find(mistake: Mistake, first: u64, seeds_max: u64) -> Finding {
    let mut finding = Finding { mistake, seeds: 0, oracle: None };
    while finding.seeds < seeds_max && finding.oracle.is_none() {
        finding.oracle = run_with(mistake, first + finding.seeds);
        finding.seeds += 1;
    }
    finding
}

/// Who saw it, in this seed. What a mistake leaves behind may be such that a step of a member never
/// ends, so each run has a thread of its own, which is left to itself then.
fn run_with(mistake: Mistake, seed: u64) -> Option<&'static str> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        planted::make(Some(mistake));
        let report = crate::run(seed, false);
        // Nobody waits any more if it took too long.
        let _ = tx.send(report.violations.first().map(|violation| violation.of));
    });
    rx.recv_timeout(RUN_MAX).unwrap_or(Some(NO_END))
}

/// All of them, as a person reads it.
pub fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["mistake", "found after seeds", "seen by"]);
    for Finding { mistake, seeds, oracle } in findings {
        let found = if oracle.is_some() { seeds.to_string() } else { format!("not in {seeds}") };
        table.add_row([format!("{mistake:?}"), found, oracle.unwrap_or("nobody").to_owned()]);
    }
    table.to_string()
}
