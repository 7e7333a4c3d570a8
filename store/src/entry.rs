//! One retained version of one key.

use crate::Revision;

/// A version without its value: what the index keeps of it.
///
/// Invariants: a tombstone has `create_revision`, `version`, `lease` and `value_len` 0; otherwise
/// `1 <= version` and `create_revision <= revision.main`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub revision: Revision,
    /// It says that the key was deleted.
    pub tombstone: bool,
    /// Main revision of the first put of this generation.
    pub create_revision: i64,
    /// Puts since then, this one included.
    pub version: i64,
    /// The lease it is attached to; 0 for none.
    pub lease: i64,
    /// Length of the value in bytes.
    pub value_len: u32,
}
