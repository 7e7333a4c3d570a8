//! Snapshots on disk: what the log may be purged behind, and what a lost engine is rebuilt from.
//!
//! A snapshot is a file of its own, written beside the service, and has its name only when all of
//! it is durable. This room must never change a finished file, and never remove the last two: if
//! the newest turns out damaged, the one before it and the log behind it still give everything.
//!
//! Start at [`SnapshotDir`]; the bytes are in `file.rs`.

#[cfg(test)]
mod crash_tests;
mod dir;
mod file;
mod incoming;
mod throttle;

pub(crate) use dir::SnapshotDir;
pub(crate) use file::{SnapshotFile, SnapshotHeader};
pub(crate) use incoming::Incoming;
