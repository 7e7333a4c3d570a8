//! What a server does at its limits and with what it should never be sent.
//!
//! Every test runs against berth and, where etcd sets the measure, against etcd beside it.
//! `BERTH_TEST_SUBJECT=etcd` puts etcd in berth's place.

mod crowds;
mod inputs;
mod leases;
mod overload;
mod quota;
mod store;
mod wire;
