//! The store against a plain model: random commands, with flushes, crashes, compaction, snapshots
//! and restores in between. Every answer, every event and every history must be the model's.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "the numbers of a short run are small"
)]

mod driver;
mod generate;
mod model;

use proptest::prelude::*;

use self::driver::Driver;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_store_does_what_the_model_does(steps in generate::steps()) {
        // Whatever happens to engine and process, nobody who asks can tell it from the model.
        let mut driver = Driver::new();
        for step in steps {
            driver.step(step);
        }
        driver.compare_all();
    }
}
