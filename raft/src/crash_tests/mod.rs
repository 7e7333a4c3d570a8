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
//!
//! The engine is one in memory, whose batches survive in order: with each rule it is lost, and left
//! with what was flushed and every number of the batches behind that. Where a start finds it, between
//! the last snapshot and the end of the log, must make no difference.

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
    // Proves: whatever the disk keeps of unsynced changes, and whatever the engine keeps of what was
    // written to it, a member opens; its log is one between the last acknowledged and the last
    // submitted one; a log that was purged has whole snapshots that cover what it lost; and engine,
    // snapshot and log together give the model's state, at or after the last entry that was
    // acknowledged, which is the same without the engine.
    let operations = env_number("BERTH_CRASH_OPS", OPS_DEFAULT);
    let run = script::run(23, operations);
    assert_eq!(run.done.values().sum::<usize>(), operations);
    for kind in Kind::ALL {
        let done = run.done.get(&kind).copied().unwrap_or_default();
        assert!(done * 100 > operations, "{kind:?} was done {done} times of {operations}");
    }
    assert!(run.points.len() * 2 > operations, "only {} syncs", run.points.len());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (tried, continued) = std::thread::scope(|scope| {
        let ledger = &run.ledger;
        let shares = run.points.chunks(run.points.len().div_ceil(workers));
        let threads: Vec<_> =
            shares.map(|share| scope.spawn(move || fail_at_all(share, ledger))).collect();
        let counts = threads.into_iter().map(|thread| thread.join().unwrap());
        counts.fold((0, 0), |(tried, continued), (one, other)| (tried + one, continued + other))
    });
    println!("{tried} failures, {continued} starts that went on with the engine");
    assert!(tried > 8 * operations, "only {tried} failures were tried");
    assert!(continued > operations, "only {continued} starts went on with the engine");
}

/// Cuts the power at each of these syncs, by every rule, and with every engine that may be left. How
/// many failures those were, and how many different starts went on with what the engine had.
fn fail_at_all(points: &[Point], ledger: &Ledger) -> (usize, usize) {
    let mut recoveries = Recoveries::new(ledger);
    let mut tried = 0;
    for point in points {
        for rule in CrashRule::for_pending(point.fs.pending()) {
            let mut expected = None;
            for (nth, engine) in point.engines().enumerate() {
                let found = recoveries.of(&point.fs.crash(rule), engine);
                let judged = found.and_then(|found| {
                    ledger.judge(&found, &point.promises)?;
                    match expected.get_or_insert_with(|| found.clone()) {
                        expected if *expected == found => Ok(()),
                        expected => Err(format!("{found:?}, and without the engine {expected:?}")),
                    }
                });
                judged.unwrap_or_else(|why| {
                    let operation = point.operation;
                    panic!("power cut in operation {operation}, {rule:?}, engine {nth}: {why}")
                });
                tried += 1;
            }
        }
        recoveries.next_point();
    }
    (tried, recoveries.continued)
}

fn env_number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
}
