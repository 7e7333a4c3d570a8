//! The real kubectl on berth: what users type, and what they read.
//!
//! Where kubectl would never send such a thing, curl does. `BERTH_TEST_SUBJECT=etcd` puts the real
//! etcd in the store's place. Containers are pretended (`--agent-runtime=fake`); everything else is
//! as it is for users. Each test has a server of its own.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod access;
mod callers;
mod commands;
mod http;
mod objects;
mod ownership;
mod parts;
mod refusals;
mod rest;
mod seeds;
mod stage;
mod tables;
