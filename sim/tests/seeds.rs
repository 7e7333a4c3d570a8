//! A few seeds, and that a seed decides everything.

use std::sync::Once;

static PANICS: Once = Once::new();

fn run(seed: u64, keep_log: bool) -> sim::Report {
    PANICS.call_once(sim::panics::note_all);
    sim::run(seed, keep_log)
}

/// `BERTH_SIM_SEEDS` says how many; the release build runs thousands: see the README.
fn seeds() -> u64 {
    std::env::var("BERTH_SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(20)
}

#[test]
fn no_seed_breaks_a_promise() {
    // Proves that clusters under faults keep what the oracles ask for, and that there were faults
    // and answers enough for that to mean something.
    let (mut answered, mut faults) = (0, 0);
    for seed in 1..=seeds() {
        let report = run(seed, false);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
        answered += report.counts.get("operations answered").copied().unwrap_or(0);
        let is_fault = |what: &str| sim::plan::Fault::ALL.iter().any(|fault| fault.name() == what);
        faults +=
            report.counts.iter().filter(|(what, _)| is_fault(what)).map(|it| it.1).sum::<u64>();
    }
    assert!(
        answered > 500 * seeds() && faults > 5 * seeds(),
        "{answered} answers, {faults} faults"
    );
}

#[test]
fn the_same_seed_gives_the_same_log() {
    // Proves that a failure can be replayed: two runs of one seed are equal to the byte, also of
    // what the clients saw; and that another seed is another run.
    for seed in [2, 5, 8] {
        let (one, other) = (run(seed, true), run(seed, true));
        assert!(one.log.len() > 100, "seed {seed} does too little");
        let differs = one.log.iter().zip(&other.log).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!((one.digest, one.counts), (other.digest, other.counts), "seed {seed}");
    }
    assert_ne!(run(2, false).digest, run(3, false).digest);
}
