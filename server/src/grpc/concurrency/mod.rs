//! etcd's lock and election services: who comes first waits for nobody.
//!
//! A lock, or an election, is a prefix. Whoever wants it puts a key under it that bears its lease;
//! the oldest key holds it, and all others wait until those before them are gone. Nothing of it is
//! in the state machine: these services are clients of the store ([`client`]), with the rights of
//! whoever called, and must never get at the store by another way.
//!
//! Start at [`queue`], then `lock.rs` and `election.rs`.
//!
//! Source: etcd's `client/v3/concurrency` and `server/etcdserver/api/v3lock`, `v3election`.

mod client;
mod election;
mod lock;
mod observe;
mod queue;

pub(super) use election::Election;
pub(super) use lock::Lock;
