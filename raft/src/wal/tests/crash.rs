//! Power failures at every operation, with every rule for what was not synced.

use super::harness::{Op, Rig, script, small_options};
use crate::vfs::{CrashFs, CrashRule};

/// Operations of the script at each of whose steps the power fails. `BERTH_CRASH_OPS` says another
/// number; the time grows with its square.
const OPS_DEFAULT: usize = 1000;

/// Runs the script until the power goes before operation `halt_at` of the disk; `None` if it went
/// before the log existed.
fn run_until(halt_at: u64, ops: &[Op]) -> (CrashFs, Option<Rig>) {
    let fs = CrashFs::new();
    fs.halt_at(halt_at);
    let Ok((mut rig, _)) = Rig::open(&fs, small_options()) else { return (fs, None) };
    for op in ops {
        rig.apply(op);
        if rig.ended.is_some() {
            break;
        }
    }
    rig.write();
    (fs, Some(rig))
}

/// The recovered log stays the same when opened again, and takes and keeps an entry more.
fn check_usable(after: &CrashFs, mut rig: Rig) {
    let model = rig.model.clone();
    drop(rig);
    let (again, recovered) = Rig::open(after, small_options()).unwrap();
    assert_eq!((&again.model, recovered.torn_bytes), (&model, 0), "a second opening differs");
    rig = again;
    rig.apply(&Op::Append(vec![100]));
    rig.write();
    let model = rig.model.clone();
    drop(rig);
    let (rig, _) = Rig::open(&after.crash(CrashRule::DropAll), small_options()).unwrap();
    assert_eq!(rig.model, model, "an entry after recovery was lost");
}

#[test]
fn a_power_failure_at_any_operation_loses_nothing_acknowledged_and_invents_nothing() {
    // Proves: whatever the disk keeps of unsynced changes, recovery finds a state between the last
    // acknowledged and the last submitted one, and goes on from there.
    let ops = script(11, env_number("BERTH_CRASH_OPS", OPS_DEFAULT));
    let (fs, rig) = run_until(u64::MAX, &ops);
    let submitted = rig.map_or(0, |rig| rig.history.len());
    let operations = fs.operations();
    let enough = usize::try_from(operations).unwrap() > ops.len() / 2;
    assert!(enough && submitted > ops.len(), "the script does too little");
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let tried: usize = std::thread::scope(|scope| {
        let ops = &ops;
        let threads: Vec<_> = (0..workers as u64)
            .map(|first| {
                let mine = (first..=operations).step_by(workers);
                scope.spawn(move || mine.map(|halt_at| fail_at(halt_at, ops)).sum::<usize>())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(tried > 4 * ops.len(), "only {tried} failures were tried");
}

/// Cuts the power before one operation, by every rule. How many those were.
fn fail_at(halt_at: u64, ops: &[Op]) -> usize {
    let (fs, rig) = run_until(halt_at, ops);
    let rules = CrashRule::for_pending(fs.pending());
    for &rule in &rules {
        let after = fs.crash(rule);
        let recovered = match &rig {
            Some(rig) => rig.recover(&after, small_options()),
            None => Rig::open(&after, small_options())
                .map(|(rig, _)| rig)
                .map_err(|error| error.to_string()),
        };
        match recovered {
            Ok(recovered) => check_usable(&after, recovered),
            Err(error) => panic!("power cut at operation {halt_at}, {rule:?}: {error}"),
        }
    }
    rules.len()
}

fn env_number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

#[test]
fn a_power_failure_during_recovery_is_recovered_from() {
    // Proves: cutting a torn tail may itself be torn, any number of times.
    let ops = script(5, 40);
    let (fs, _) = run_until(u64::MAX, &ops);
    for halt_at in 0..=fs.operations() {
        let (fs, rig) = run_until(halt_at, &ops);
        let Some(rig) = rig else { continue };
        for seed in 0..4 {
            let torn = fs.crash(CrashRule::Tear { seed });
            for second in 0..6 {
                let again = torn.crash(CrashRule::KeepAll);
                again.halt_at(second);
                drop(Rig::open(&again, small_options()));
                let after = again.crash(CrashRule::Tear { seed: second });
                rig.recover(&after, small_options())
                    .unwrap_or_else(|error| panic!("{halt_at} {seed} {second}: {error}"));
            }
        }
    }
}

#[test]
fn what_a_restarted_process_found_survives_a_later_power_failure() {
    // Proves: an opening makes durable what it reports; after a kill it may exist in the page cache
    // alone, and raft counts it as durable from then on.
    let ops = script(5, 60);
    let (fs, _) = run_until(u64::MAX, &ops);
    for halt_at in 0..=fs.operations() {
        let restarted = run_until(halt_at, &ops).0.kill();
        let (mut found, _) = Rig::open(&restarted, small_options()).unwrap();
        for _ in 0..2 {
            let after = restarted.crash(CrashRule::DropAll);
            let (rig, _) = Rig::open(&after, small_options()).unwrap();
            assert_eq!(rig.model, found.model, "killed at operation {halt_at}");
            found.apply(&Op::Append(vec![10]));
            found.write();
        }
    }
}

#[test]
fn what_a_failed_sync_left_in_the_page_cache_is_made_durable_at_the_next_start() {
    // Proves: after a failed sync the system takes what was written for clean and shows it to the
    // next process, which must write it again before it relies on it.
    let ops = script(5, 60);
    let (fs, _) = run_until(u64::MAX, &ops);
    let mut found_more = 0;
    for fail_at in 0..fs.operations() {
        let fs = CrashFs::new();
        fs.fail_at(fail_at);
        let Ok((mut rig, _)) = Rig::open(&fs, small_options()) else { continue };
        for op in &ops {
            rig.apply(op);
            rig.write();
        }
        let acknowledged = *rig.acknowledged.lock();
        let acknowledged = rig.history[acknowledged].clone();
        drop(rig);
        let restarted = fs.kill();
        let (mut found, _) = Rig::open(&restarted, small_options()).unwrap();
        found_more += usize::from(found.model != acknowledged);
        found.apply(&Op::Append(vec![10]));
        found.write();
        let after = restarted.crash(CrashRule::DropAll);
        let (rig, _) = Rig::open(&after, small_options())
            .unwrap_or_else(|error| panic!("operation {fail_at} failed: {error}"));
        assert_eq!(rig.model, found.model, "operation {fail_at} failed");
    }
    assert!(found_more > 10, "only {found_more} failures left something behind");
}
