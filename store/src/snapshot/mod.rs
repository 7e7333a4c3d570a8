//! The whole state as a stream.

pub mod codec;

use std::io::Write;

use crate::{Error, Position};

/// A consistent view of the whole state at the mark where it was taken.
///
/// Reading it never stops the writer. While it exists, physical compaction leaves alone what it
/// needs.
pub struct Snapshot {}

impl Snapshot {
    pub fn position(&self) -> Position {
        unimplemented!()
    }

    pub fn revision(&self) -> i64 {
        unimplemented!()
    }

    /// Streams it in checksummed blocks. Whoever wants it slower gives a slower writer.
    pub fn write_to(self, _out: &mut dyn Write) -> Result<(), Error> {
        unimplemented!()
    }
}
