//! The calls of kube-apiserver's storage layer, one by one, and what clients switch on by the version
//! that a server reports; and the calls of other tools. `BERTH_TEST_SUBJECT=etcd` puts etcd in berth's place.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod calls;
mod consumers;
mod storage;
mod versions;
mod watching;
