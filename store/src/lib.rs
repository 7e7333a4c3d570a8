//! The deterministic state machine.

pub mod auth;
pub mod engine;
mod error;
pub mod snapshot;

pub use error::Error;
