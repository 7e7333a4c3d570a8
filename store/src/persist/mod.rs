//! Between the state and the engine: how it is written down, and how it is read again.
//!
//! Start at `records.rs`, which says what the engine holds.

pub(crate) mod records;
