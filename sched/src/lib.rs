//! Discovery on an etcd-compatible store, as a client of it.
//!
//! This room must never know which store it talks to: everything goes through [`kv::Kv`], whose
//! wire is etcd's. It sees neither `store` nor `raft`, and it owns no command line: `server/`
//! parses flags and hands over plain settings.
//!
//! Start at [`kv`], then [`discovery`].

pub mod controllers;
pub mod discovery;
pub mod kv;
