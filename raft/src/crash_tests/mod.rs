//! Power failures at every sync of a whole member: its log, its own snapshots, those that it is
//! sent, and the clean-up behind all of them, on one disk.
//!
//! A script drives the product's own parts by hand, in the order in which openraft and the
//! snapshotter do ([`member`]), beside a model of what was promised ([`ledger`]). The disk is kept as
//! it was before each sync ([`disk`]); afterwards each of these is left as every rule says, and
//! opened by the product's own opening ([`recovery`]).
//!
//! Before a sync is enough: what is durable changes by syncs alone, so a failure at any moment
//! between two of them leaves what a prefix of the changes before the later one leaves, which is a
//! rule; and nothing is promised in between.

mod disk;
mod ledger;
mod member;
mod recovery;
mod script;
mod sender;

use crate::vfs::CrashRule;
use disk::Point;
use ledger::Ledger;
use recovery::Recoveries;
use script::Kind;

/// Operations of the script. `BERTH_CRASH_OPS` says another number.
const OPS_DEFAULT: usize = 1000;

#[test]
fn a_power_failure_at_any_sync_leaves_log_and_snapshots_that_give_what_was_acknowledged() {
    // Proves: whatever the disk keeps of unsynced changes, a member opens; its log is one between the
    // last acknowledged and the last submitted one; a log that was purged has whole snapshots that
    // cover what it lost; and snapshot and log together give the model's state, at or after the last
    // entry that was acknowledged.
    let operations = env_number("BERTH_CRASH_OPS", OPS_DEFAULT);
    let run = script::run(23, operations);
    assert_eq!(run.done.values().sum::<usize>(), operations);
    for kind in Kind::ALL {
        let done = run.done.get(&kind).copied().unwrap_or_default();
        assert!(done * 100 > operations, "{kind:?} was done {done} times of {operations}");
    }
    assert!(run.points.len() * 2 > operations, "only {} syncs", run.points.len());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let tried: usize = std::thread::scope(|scope| {
        let ledger = &run.ledger;
        let shares = run.points.chunks(run.points.len().div_ceil(workers));
        let threads: Vec<_> =
            shares.map(|share| scope.spawn(move || fail_at_all(share, ledger))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(tried > 8 * operations, "only {tried} failures were tried");
}

/// Cuts the power at each of these syncs, by every rule. How many failures those were.
fn fail_at_all(points: &[Point], ledger: &Ledger) -> usize {
    let mut recoveries = Recoveries::new(ledger);
    let mut tried = 0;
    for point in points {
        let rules = rules(point.fs.pending());
        for &rule in &rules {
            let found = recoveries.of(&point.fs.crash(rule));
            found.and_then(|found| ledger.judge(&found, &point.promises)).unwrap_or_else(|why| {
                panic!("power cut in operation {}, {rule:?}: {why}", point.operation)
            });
        }
        recoveries.next_point();
        tried += rules.len();
    }
    tried
}

fn rules(pending: usize) -> Vec<CrashRule> {
    if pending == 0 {
        // All rules leave the same.
        return vec![CrashRule::DropAll];
    }
    let mut rules = vec![CrashRule::DropAll, CrashRule::KeepAll];
    for changes in 0..pending {
        let prefix = |sectors| CrashRule::KeepPrefix { changes, sectors };
        rules.extend([0, 1, 2, 4].map(prefix));
    }
    rules.extend((0..6).map(|seed| CrashRule::Tear { seed }));
    rules
}

fn env_number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
}
