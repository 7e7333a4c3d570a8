//! The same random calls to berth and to the real etcd, in lockstep: every answer has to be
//! equal, and so has everything that watchers saw.
//!
//! `BERTH_DIFF_SEED` and `BERTH_DIFF_OPS` choose the run; a failure prints the command that
//! replays it. `BERTH_TEST_SUBJECT=etcd` compares etcd with itself, which proves the harness.

mod call;
mod canonical;
mod comparison;
mod differences;
mod generate;
mod side;
mod watching;

use comparison::Comparison;
use testkit::{Program, env_number, subject};

/// Enough for every kind of call to meet every other in the gate; a full run has 20,000.
const OPS_DEFAULT: u64 = 3_000;
const SEED_DEFAULT: u64 = 20_260_101;

/// Proves that a client cannot tell berth from etcd by any answer, error or event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_and_every_event_is_etcds() {
    let seed = env_number("BERTH_DIFF_SEED", SEED_DEFAULT);
    let ops = env_number("BERTH_DIFF_OPS", OPS_DEFAULT);
    let mut comparison = Comparison::start(Program::etcd(), subject!(), seed).await;
    for number in 1..=ops {
        if let Err(difference) = comparison.step().await {
            panic!(
                "operation {number} differs; replay with\n  BERTH_DIFF_SEED={seed} \
                 BERTH_DIFF_OPS={number} cargo test -p berth --test differential\n{difference}"
            );
        }
    }
    if let Err(difference) = comparison.finish().await {
        panic!(
            "the end of the run differs; replay with\n  BERTH_DIFF_SEED={seed} \
             BERTH_DIFF_OPS={ops} cargo test -p berth --test differential\n{difference}"
        );
    }
    println!("seed {seed}: {ops} operations, {}", comparison.summary());
}
