//! A cluster of real processes under everything that can be done to it here, for a minute.
//!
//! `BERTH_CHAOS_SECONDS` and `BERTH_CHAOS_SEED` make it longer and other; `berth-chaos` does the same
//! by itself.

use std::path::PathBuf;
use std::time::Duration;

use sim::chaos::{self, Options};
use testkit::{env_number, skipped};

/// Proves that clients and watchers of a cluster in trouble are told nothing that is wrong, and that
/// the members hold the same afterwards. A run with too little traffic is said to show nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_under_faults_keeps_its_promises() {
    let options = Options {
        berth: PathBuf::from(env!("CARGO_BIN_EXE_berth")),
        members: 3,
        faults: Duration::from_secs(env_number("BERTH_CHAOS_SECONDS", 60)),
        seed: env_number("BERTH_CHAOS_SEED", 1),
    };
    let report = chaos::run(&options).await.expect("a cluster");
    println!("{report}");
    for (what, why) in &report.missing {
        skipped(&format!("chaos with {what}"), why);
    }
    assert!(report.violations.is_empty(), "{report}");
    if !report.counts() {
        let rate = report.operations_per_s;
        let why = format!("{rate} answers a second before the first fault: too slow to count");
        skipped("chaos", &why);
    }
    assert!(report.served && !report.fired.is_empty(), "{report}");
}
