//! The runtimes of the node agent, with real containers: the contract that all of them keep, and
//! what only real ones can show. They need root, and runc or an engine of their own.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

mod docker;
mod layout;
mod registry;
mod runc;
mod unified;
