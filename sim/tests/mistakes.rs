//! The oracles find what they are for.

use sim::mistakes::{self, Finding};
use store::planted;

/// Each is found much sooner: see the table in the README.
const SEEDS_MAX: u64 = 60;

#[test]
fn known_mistakes_are_found() {
    // Proves that a simulator that finds nothing has looked: each planted mistake is seen, by the
    // oracle of the promise that it breaks, and nobody sees anything in the same seed without it.
    sim::panics::note_all();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let findings = mistakes::find_all(&planted::ALL, 1, SEEDS_MAX, jobs);
    assert_eq!(findings.len(), planted::ALL.len());
    let wrong: Vec<_> = findings.iter().filter(|finding| !Finding::is_right(finding)).collect();
    // Panics are noted, not printed: what is wrong has to be said before.
    println!("{wrong:#?}\n{}", mistakes::table(&findings));
    assert!(wrong.is_empty());
}
