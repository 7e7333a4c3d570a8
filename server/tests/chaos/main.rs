//! Clusters of real processes under everything that can be done to them here, of three members and of
//! five, for half a minute each. The build has failpoints, so that members crash at those too.
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
async fn clusters_under_faults_keep_their_promises() {
    let seed = env_number("BERTH_CHAOS_SEED", 1);
    // One after the other: faults need members that are busy, and not with waiting.
    for (members, seed) in [(3, seed), (5, seed + 1)] {
        keeps_its_promises(members, seed).await;
    }
}

async fn keeps_its_promises(members: usize, seed: u64) {
    let options = Options {
        berth: PathBuf::from(env!("CARGO_BIN_EXE_berth")),
        members,
        faults: Duration::from_secs(env_number("BERTH_CHAOS_SECONDS", 30)),
        seed,
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
        skipped(&format!("chaos with {members} members"), &why);
    }
    assert!(report.served && !report.fired.is_empty(), "{report}");
}
