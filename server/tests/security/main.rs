//! TLS and tokens, with real processes, and beside the real etcd where a client sees the answer.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod certificates;
mod cluster;
mod common_name;
mod ctl;
mod gateway;
mod handshake;
mod jwt;
mod modes;
mod peers;
mod secrets;
mod self_signed;
mod server;
mod strangers;
mod tokens;
