//! The v2 API beside Debian's etcd 3.4 with `--enable-v2`: every answer, etcdctl's output, real
//! clients; and what only berth can be asked: restarts, kills, a leader that goes.
//!
//! `BERTH_DIFF_SEED`, `BERTH_V2_OPS` and `BERTH_V2_CLUSTER_OPS` choose the random runs.
//! `BERTH_TEST_SUBJECT=etcd` compares etcd with itself, which proves the harness.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod canonical;
mod consumers;
mod differential;
mod doors;
mod etcdctl;
mod expiry;
mod generate;
mod http;
mod lives;
mod python;
mod side;
mod waiting;
