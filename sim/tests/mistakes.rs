//! The oracles find what they are for.

use sim::mistakes::{self, Finding};
use store::planted::{self, Mistake};

/// Each is found much sooner: see the table in the README.
const SEEDS_MAX: u64 = 60;

/// It takes more seeds than the gate has time for: see there.
const RARE: Mistake = Mistake::PurgeEarly;

#[test]
fn known_mistakes_are_found() {
    // Proves that a simulator that finds nothing has looked: each planted mistake is seen, by the
    // oracle of the promise that it breaks, and nobody sees anything in the same seed without it.
    sim::panics::note_all();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Mistake> = planted::ALL.into_iter().filter(|mistake| *mistake != RARE).collect();
    let findings = mistakes::find_all(&all, 1, SEEDS_MAX, jobs);
    assert_eq!(findings.len(), planted::ALL.len() - 1);
    let wrong: Vec<_> = findings.iter().filter(|finding| !Finding::is_right(finding)).collect();
    // Panics are noted, not printed: what is wrong has to be said before.
    println!("{wrong:#?}\n{}", mistakes::table(&findings));
    assert!(wrong.is_empty());
}
