use api::etcdserverpb::RangeRequest;
use api::mvccpb::KeyValue;
use bytes::Bytes;
use prost::encoding::{encoded_len_varint, key_len};

use crate::select::Found;
use crate::view::{View, values_of};
use crate::write::key_value;
use crate::{Entry, Error, response};

/// Values read at once, at most, whatever size a chunk may have.
const READ_AHEAD_MAX: usize = 256;

/// The answer to a range request before its values are read, so that it can be sent in pieces.
///
/// While it exists, physical compaction leaves alone what it needs.
pub struct RangePlan {
    view: View,
    found: Found,
    keys_only: bool,
    next: usize,
    /// All values, if they had to be read to put them in order.
    values: Option<Vec<Bytes>>,
}

impl RangePlan {
    pub(crate) fn new(view: View, request: &RangeRequest) -> Result<RangePlan, Error> {
        let mut found = view.find(request)?;
        let values = match found.by_value {
            Some(_) => Some(values_of(&view.shared, &mut found)?),
            None => None,
        };
        Ok(RangePlan { view, found, keys_only: request.keys_only, next: 0, values })
    }

    /// The next key-values in the answer's order: at least one, and then as many as fit into
    /// `bytes_max` encoded bytes; `None` after the last.
    pub fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Vec<KeyValue>>, Error> {
        let start = self.next;
        let mut bytes = 0;
        while self.next < self.found.len() {
            bytes += self.item_len(self.next);
            if bytes > bytes_max && self.next > start {
                break;
            }
            self.next += 1;
        }
        if self.next == start {
            return Ok(None);
        }
        let mut chunk = Vec::with_capacity(self.next - start);
        for part in (start..self.next).step_by(READ_AHEAD_MAX) {
            let end = self.next.min(part + READ_AHEAD_MAX);
            for (place, value) in (part..end).zip(self.values(part, end)?) {
                chunk.push(key_value(self.found.key(place), self.found.entry(place), value));
            }
        }
        Ok(Some(chunk))
    }

    fn values(&self, start: usize, end: usize) -> Result<Vec<Bytes>, Error> {
        if self.keys_only {
            return Ok(vec![Bytes::new(); end - start]);
        }
        match &self.values {
            Some(values) => Ok(values[start..end].to_vec()),
            None => {
                let entries = (start..end).map(|place| self.found.entry(place));
                self.view.shared.pinned_values(entries)
            }
        }
    }

    /// Key-values in the answer.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn is_empty(&self) -> bool {
        self.found.len() == 0
    }

    /// Keys in the range, before limit and filters.
    pub fn count(&self) -> i64 {
        response::count(self.found.count)
    }

    /// The limit cut something off.
    pub fn more(&self) -> bool {
        self.found.more
    }

    /// The store's revision when the plan was made: what the header says.
    pub fn revision(&self) -> i64 {
        self.view.revision
    }

    /// Length of the whole answer without its header, encoded as a `RangeResponse`.
    pub fn encoded_len(&self) -> usize {
        const MORE: (u32, usize) = (3, 1);
        const COUNT: u32 = 4;
        let kvs: usize = (0..self.found.len()).map(|place| self.item_len(place)).sum();
        let more = if self.more() { key_len(MORE.0) + MORE.1 } else { 0 };
        let count = match self.found.count {
            0 => 0,
            count => key_len(COUNT) + encoded_len_varint(count as u64),
        };
        kvs + more + count
    }

    /// Encoded length of one key-value in the list, with its tag and length.
    fn item_len(&self, place: usize) -> usize {
        const KVS: u32 = 2;
        let len = key_value_len(self.found.key_len(place), self.found.entry(place), self.keys_only);
        key_len(KVS) + encoded_len_varint(len as u64) + len
    }
}

/// Encoded length of an `mvccpb.KeyValue`, all of whose tags take one byte.
fn key_value_len(key_len: usize, entry: &Entry, keys_only: bool) -> usize {
    let number = |number: i64| match number {
        0 => 0,
        number => 1 + encoded_len_varint(number.cast_unsigned()),
    };
    let bytes = |len: usize| match len {
        0 => 0,
        len => 1 + encoded_len_varint(len as u64) + len,
    };
    let value_len = if keys_only { 0 } else { entry.value_len as usize };
    bytes(key_len)
        + number(entry.create_revision)
        + number(entry.revision.main)
        + number(entry.version)
        + bytes(value_len)
        + number(entry.lease)
}
