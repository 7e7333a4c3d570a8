//! The oracles find what they are for.

use sim::mistakes;
use store::planted;

/// Each is found much sooner: see the table in the README.
const SEEDS_MAX: u64 = 100;

#[test]
fn every_known_mistake_is_found() {
    // Proves that a simulator that finds nothing has looked: each planted mistake is caught.
    sim::panics::note_all();
    let findings: Vec<_> =
        planted::ALL.into_iter().map(|mistake| mistakes::find(mistake, 1, SEEDS_MAX)).collect();
    let missed: Vec<_> = findings.iter().filter(|it| it.oracle.is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}\n{}", mistakes::table(&findings));
}
