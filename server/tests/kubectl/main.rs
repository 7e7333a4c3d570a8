//! The real kubectl on berth: what users type, and what they read.
//!
//! Containers are pretended (`--agent-runtime=fake`); everything else is as it is for users. Each
//! test has a server of its own.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod commands;
mod objects;
mod refusals;
mod seeds;
mod stage;
