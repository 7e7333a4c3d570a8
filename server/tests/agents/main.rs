//! The node agent from outside: `berth agent` with real containers, a store, and pods that are
//! written there. `BERTH_TEST_SUBJECT=etcd` puts the real etcd in the store's place.

mod lease;
mod pods;
mod scene;
