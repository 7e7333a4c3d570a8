//! Why a v2 request is refused.

use bytes::Bytes;

/// The condition only: numbers and texts are the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    KeyNotFound,
    CompareFailed,
    /// A directory, where a file is needed.
    NotFile,
    /// A file, where a directory is needed.
    NotDir,
    NodeExists,
    RootReadOnly,
    DirNotEmpty,
    /// The history does not go back so far.
    HistoryCleared,
    /// More than [`super::DEPTH_MAX`] names, or [`super::PATH_BYTES_MAX`] bytes.
    PathTooLong,
    /// An action of a later version.
    UnknownAction,
}

/// It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// The path that was in the way, or what differed.
    pub cause: Bytes,
    /// Of the tree, then.
    pub index: u64,
}
