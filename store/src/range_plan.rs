use std::collections::VecDeque;

use api::etcdserverpb::RangeRequest;
use api::mvccpb::KeyValue;
use bytes::Bytes;
use prost::encoding::{encoded_len_varint, key_len};

use crate::read_ahead::Grant;
use crate::select::Found;
use crate::view::{View, values_of};
use crate::write::key_value;
use crate::{Entry, Error, response};

/// The answer to a range request before its values are read, so that it can be sent in pieces.
///
/// While it exists, physical compaction leaves alone what it needs.
pub struct RangePlan {
    view: View,
    found: Found,
    keys_only: bool,
    /// The first key-value that was not handed out yet.
    next: usize,
    /// Values of those that come next, as far as they have been read.
    ready: VecDeque<Bytes>,
    /// The memory for `ready`.
    ahead: Option<Grant>,
}

impl RangePlan {
    pub(crate) fn new(view: View, request: &RangeRequest) -> Result<RangePlan, Error> {
        let mut found = view.find(request)?;
        let ready = match found.by_value {
            // All had to be read to put them in order.
            Some(_) => values_of(&view.shared, &mut found)?.into(),
            None => VecDeque::new(),
        };
        Ok(RangePlan { view, found, keys_only: request.keys_only, next: 0, ready, ahead: None })
    }

    /// The next key-values in the answer's order: at least one, and then as many as fit into
    /// `bytes_max` encoded bytes; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn next_chunk(&mut self, bytes_max: usize) -> Result<Option<Vec<KeyValue>>, Error> {
        let mut bytes = 0;
        let mut chunk = Vec::new();
        while self.next < self.found.len() {
            bytes += self.item_len(self.next);
            if bytes > bytes_max && !chunk.is_empty() {
                break;
            }
            let value = self.next_value()?;
            chunk.push(key_value(self.found.key(self.next), self.found.entry(self.next), value));
            self.next += 1;
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    /// Whether the values are in memory, a few of few bytes: then it holds them, and handing out the
    /// answer waits for nothing.
    pub fn is_at_hand(&mut self, keys_max: usize, bytes_max: usize) -> bool {
        let len = self.found.len();
        if self.next > 0 || len > keys_max {
            return false;
        }
        if self.keys_only {
            return true;
        }
        if self.read_ahead_end(bytes_max) < len {
            return false;
        }
        if self.ready.len() == len {
            return true;
        }
        let entries = (0..len).map(|place| self.found.entry(place));
        let Some(values) = self.view.shared.values_at_hand(entries) else { return false };
        self.ready = values.into();
        true
    }

    fn next_value(&mut self) -> Result<Bytes, Error> {
        if self.keys_only {
            return Ok(Bytes::new());
        }
        if self.ready.is_empty() {
            self.ahead = None;
            let ahead = self.view.shared.read_ahead.grant();
            let end = self.read_ahead_end(ahead.bytes);
            self.ahead = Some(ahead);
            let entries = (self.next..end).map(|place| self.found.entry(place));
            self.ready = self.view.shared.pinned_values(entries)?.into();
        }
        Ok(self.ready.pop_front().expect("at least one value was read ahead"))
    }

    fn read_ahead_end(&self, bytes_max: usize) -> usize {
        let mut bytes = 0;
        let is_within = |place: &usize| {
            bytes += self.found.entry(*place).value_len as usize + size_of::<Bytes>();
            bytes <= bytes_max
        };
        let more = (self.next + 1..self.found.len()).take_while(is_within).count();
        self.next + 1 + more
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
