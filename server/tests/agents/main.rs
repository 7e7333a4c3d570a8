//! The node agent from outside: `berth agent` with real containers, a store, and pods that are
//! written there. `BERTH_TEST_SUBJECT=etcd` puts the real etcd in the store's place.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod alone;
mod datagrams;
mod docker;
mod guard;
mod lease;
mod machine;
mod names;
mod pods;
mod pretended;
mod remains;
mod scene;
mod secure;
mod several;
