//! The JSON gateway as its clients meet it, beside the real etcd's.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod access;
mod apisix;
mod cases;
mod documented;
mod http;
mod members;
mod operators;
mod python;
mod random;
mod replay;
mod slow;
mod streams;
mod websocket;
