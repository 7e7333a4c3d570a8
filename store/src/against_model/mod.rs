//! The store against a plain model: random commands, with flushes, crashes, compaction, snapshots
//! and restores in between. Every answer, every event and every history must be the model's.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "the numbers of a short run are small"
)]
#![allow(clippy::unwrap_used, reason = "it ends where it is surprised, in tests and fuzzers alone")]

mod driver;
mod from_bytes;
#[cfg(test)]
mod generate;
mod model;
mod step;

use self::driver::Driver;
use self::step::Step;

/// The entry for fuzzing: does to a store and to the model what arbitrary bytes stand for.
///
/// # Panics
/// Where the two differ.
pub fn compare_arbitrary(data: &[u8]) {
    compare(from_bytes::steps(data));
}

fn compare(steps: Vec<Step>) {
    let mut driver = Driver::new();
    for step in steps {
        driver.step(step);
    }
    driver.compare_all();
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use proptest::prelude::*;

    use super::*;

    /// So many variants has [`Step`].
    const STEP_KINDS: usize = 9;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 150,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_store_does_what_the_model_does(steps in generate::steps()) {
            // Whatever happens to engine and process, nobody who asks can tell it from the model.
            compare(steps);
        }
    }

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/store_model");
        let mut kinds = Vec::new();
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            for kind in from_bytes::steps(&data).iter().map(discriminant) {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            compare_arbitrary(&data);
        }
        assert_eq!(kinds.len(), STEP_KINDS, "the corpus has each kind of step");
    }
}
