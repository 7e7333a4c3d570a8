//! The controllers on a real store, with a crew in the place of scheduler and agents: nodes that
//! hold leases, pods that are bound, run, become ready and end.
//!
//! `BERTH_TEST_SUBJECT=etcd` puts the real etcd in the store's place: the controllers are clients
//! of either.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod crew;
mod endings;
mod failures;
mod rollouts;
mod services;
mod work;
