//! Between the state and the engine: how it is written down, and how it is read again.
//!
//! A batch takes the engine from one place in the log to a later one, never to a place in between.
//! Start at `records.rs`, which says what the engine holds.

pub(crate) mod load;
pub(crate) mod records;
