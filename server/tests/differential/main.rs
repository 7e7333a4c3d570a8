//! The same random calls to berth and to the real etcd, in lockstep: every answer has to be
//! equal, and so has everything that watchers saw.
//!
//! Once more with three members of berth, through each of them at random, beside one etcd.
//!
//! `BERTH_DIFF_SEED` and `BERTH_DIFF_OPS` choose the run (`BERTH_DIFF_CLUSTER_OPS` that of three
//! members); a failure prints the command that replays it. `BERTH_TEST_SUBJECT=etcd` compares
//! etcd with itself, which proves the harness.

mod call;
mod canonical;
mod comparison;
mod differences;
mod generate;
mod host;
mod side;
mod watching;

use comparison::Comparison;
use testkit::{Program, env_number, subject};

/// Enough for every kind of call to meet every other in the gate; a full run has 20,000.
const OPS_DEFAULT: u64 = 3_000;
/// Each step waits for all members.
const CLUSTER_OPS_DEFAULT: u64 = 1_500;
const SEED_DEFAULT: u64 = 20_260_101;

/// Proves that a client cannot tell berth from etcd by any answer, error or event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_and_every_event_is_etcds() {
    compare(1, "BERTH_DIFF_OPS", OPS_DEFAULT, "every_answer").await;
}

/// Proves that a client cannot tell three members of berth, asking any of them, from one etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_answer_as_one_etcd() {
    compare(3, "BERTH_DIFF_CLUSTER_OPS", CLUSTER_OPS_DEFAULT, "three_members").await;
}

/// Runs as many steps as the environment variable `scale` says.
async fn compare(members: usize, scale: &str, default: u64, test: &str) {
    let seed = env_number("BERTH_DIFF_SEED", SEED_DEFAULT);
    let ops = env_number(scale, default);
    let replay = |ops| {
        format!(
            "replay with\n  BERTH_DIFF_SEED={seed} {scale}={ops} \
             cargo test -p berth --test differential {test}"
        )
    };
    let mut comparison = Comparison::start(Program::etcd(), subject!(), members, seed).await;
    for number in 1..=ops {
        if let Err(difference) = comparison.step().await {
            panic!("operation {number} differs; {}\n{difference}", replay(number));
        }
    }
    if let Err(difference) = comparison.finish().await {
        panic!("the end of the run differs; {}\n{difference}", replay(ops));
    }
    println!("seed {seed}: {ops} operations, {}", comparison.summary());
}
