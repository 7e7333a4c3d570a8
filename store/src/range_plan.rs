use api::mvccpb::KeyValue;

use crate::Error;

/// The answer to a range request before its values are read, so that it can be sent in pieces.
///
/// While it exists, physical compaction leaves alone what it needs.
pub struct RangePlan {}

impl RangePlan {
    /// The next key-values in the answer's order: at least one, and then as many as fit into
    /// `bytes_max` encoded bytes; `None` after the last.
    pub fn next_chunk(&mut self, _bytes_max: usize) -> Result<Option<Vec<KeyValue>>, Error> {
        unimplemented!()
    }

    /// Keys in the range, before limit and filters.
    pub fn count(&self) -> i64 {
        unimplemented!()
    }

    /// The limit cut something off.
    pub fn more(&self) -> bool {
        unimplemented!()
    }

    /// The store's revision when the plan was made: what the header says.
    pub fn revision(&self) -> i64 {
        unimplemented!()
    }

    /// Length of the whole answer without its header, encoded as a `RangeResponse`.
    pub fn encoded_len(&self) -> usize {
        unimplemented!()
    }
}
