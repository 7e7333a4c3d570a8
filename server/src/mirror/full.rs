//! A copy of everything as it is at one revision of the source.
//!
//! Both sides are walked in the order of keys, side by side: what differs is put, what the source
//! does not have is deleted. Until the end the destination is of no revision, and the checkpoint
//! says so; a copy that was cut short is begun again and finds most of it done.

use api::etcdserverpb::{RangeRequest, RequestOp};
use api::mvccpb::KeyValue;
use bytes::Bytes;
use prost::Message;

use super::checkpoint::Checkpoint;
use super::cursor::{Cursor, fill};
use super::destination::Destination;
use super::mapping::Mapping;
use super::pieces::{self, PIECE_BYTES_MAX, delete, put};
use super::source::Source;
use super::trouble::{Result, Trouble};

/// One copy of everything.
pub(super) struct Full<'a> {
    pub(super) source: &'a mut Source,
    pub(super) destination: &'a mut Destination,
    pub(super) mapping: &'a Mapping,
    pub(super) ops_max: usize,
    /// Told of each transaction.
    pub(super) applied: &'a dyn Fn(),
}

impl Full<'_> {
    /// Copies everything at the revision of `begun`, and returns the checkpoint at its end.
    pub(super) async fn copy(mut self, begun: Checkpoint) -> Result<Checkpoint> {
        self.destination.apply(Vec::new(), &begun).await?;
        let mut from = Cursor::new(self.mapping.source_range(), begun.revision);
        let mut to = Cursor::new(self.mapping.destination_range(), 0);
        let mut waiting = Vec::new();
        let mut bytes = 0;
        loop {
            fill(&mut from, async |request| self.source.range(request).await).await?;
            fill(&mut to, async |request| self.destination.range(request).await).await?;
            let (old, new) = (to.peek(), from.peek().map(|kv| self.mapping.map(&kv.key)));
            if old.is_none() && new.is_none() {
                break;
            }
            let step = Step::of(old, new);
            let op = step
                .take(&mut from, &mut to)
                .filter(|(key, _)| key != self.destination.checkpoint_key());
            if let Some((_, op)) = op {
                bytes += op.encoded_len();
                waiting.push(op);
            }
            if waiting.len() >= self.ops_max || bytes >= PIECE_BYTES_MAX {
                self.write(&mut waiting, &begun).await?;
                bytes = 0;
            }
        }
        self.write(&mut waiting, &begun).await?;
        let done = begun.done(begun.revision);
        self.destination.apply(Vec::new(), &done).await?;
        Ok(done)
    }

    async fn write(&mut self, waiting: &mut Vec<RequestOp>, begun: &Checkpoint) -> Result<()> {
        while !waiting.is_empty() {
            let piece = pieces::next(waiting, self.ops_max);
            self.destination.apply(piece, begun).await?;
            (self.applied)();
        }
        Ok(())
    }
}

/// The first of the two next keys, and on which side it is.
enum Step {
    /// The destination alone has it.
    Old,
    /// The source alone has it, under this name at the destination.
    New(Bytes),
    Both,
}

impl Step {
    fn of(old: Option<&KeyValue>, new: Option<Bytes>) -> Self {
        match (old, new) {
            (Some(old), Some(new)) if old.key == new => Self::Both,
            (Some(old), Some(new)) if old.key > new => Self::New(new),
            (None, Some(new)) => Self::New(new),
            _ => Self::Old,
        }
    }

    /// Goes past that key; the operation that makes the destination equal there, if one is needed.
    fn take(self, from: &mut Cursor, to: &mut Cursor) -> Option<(Bytes, RequestOp)> {
        match self {
            Self::Old => to.pop().map(|old| (old.key.clone(), delete(old.key))),
            Self::New(key) => from.pop().map(|new| (key.clone(), put(key, new.value))),
            Self::Both => {
                let (old, new) = (to.pop()?, from.pop()?);
                (old.value != new.value).then(|| (old.key.clone(), put(old.key, new.value)))
            }
        }
    }
}

/// Refuses to copy over keys that no mirror wrote.
pub(super) async fn check_empty(destination: &mut Destination, mapping: &Mapping) -> Result<()> {
    let (key, range_end) = mapping.destination_range();
    let request = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
    match destination.range(request).await?.count {
        0 => Ok(()),
        count => Err(Trouble::lasting(format!(
            "the destination has {count} keys already under {:?}, and keys that the source does not \
             have would be deleted: give --replace if that is right, or another --dest-prefix",
            mapping.texts().1
        ))),
    }
}
