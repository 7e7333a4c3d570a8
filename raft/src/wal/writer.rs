//! The one that writes: encode all that waits, one write, one sync, tell all, in order.

use super::error::{Error, ErrorKind};
use super::header::Header;
use super::index::Step;
use super::options::BATCH_BYTES_MAX;
use super::record::{self, Kind, Record};
use super::segment::{Disk, Segment, slot};
use super::state::{Operation, Request, Shared};
use crate::vfs::Lock;
use bytes::Bytes;
use fail::fail_point;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use store::planted::{self, Mistake};

/// A buffer that grew beyond this many bytes is given back after its write.
const BUFFER_BYTES_KEPT: usize = 16 << 20;

/// A write that is not this many times smaller than a step of the file brings no zeros along.
const ZEROS_PER_WRITE_MAX: u64 = 4;

/// The one that writes. Drive [`Writer::run`] on a thread of its own.
pub struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    metadata: Bytes,
    segment: Arc<Segment>,
    /// What slots call the segment.
    number: u32,
    /// Where its records end, in bytes.
    end: u64,
    /// The length of its file; zeros from `end` on.
    file_len: u64,
    /// The last write is not yet followed by another (see [`Writer::seal`]).
    unsealed: bool,
    /// The log was closed and everything is written.
    ended: bool,
    /// The bytes of a write and what its records do; reused.
    buffer: Vec<u8>,
    steps: Vec<Step>,
    _lock: Box<dyn Lock>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Disk,
        lock: Box<dyn Lock>,
        metadata: Bytes,
        file_len: u64,
    ) -> Writer {
        let (segment, number, end) = {
            let state = shared.state.lock();
            let segments = &state.segments;
            (Arc::clone(segments.last()), segments.last_number(), segments.end)
        };
        Writer {
            shared,
            disk,
            metadata,
            segment,
            number,
            end,
            file_len,
            unsealed: false,
            ended: false,
            buffer: Vec::new(),
            steps: Vec::new(),
            _lock: lock,
        }
    }

    /// Writes what the handles ask for until the log is closed, the last handle is dropped or a
    /// write fails: encode all that waits, one write, one sync, tell all, in order.
    ///
    /// It uses no runtime: run it with `futures::executor::block_on` on a thread of its own (its
    /// file calls block), or spawn it in a simulator. Dropping it before it ends poisons the log.
    pub async fn run(mut self) -> Result<(), Error> {
        while let Some(batch) = self.next_batch().await {
            fail_point!("raftBeforeSave");
            if let Err(error) = self.write_batch(&batch) {
                return Err(self.poison(batch, &error));
            }
            fail_point!("raftAfterSave");
            let purges = batch.iter().any(|it| matches!(it.request, Request::Purge(..)));
            for operation in batch {
                if let Some(done) = operation.done {
                    done(Ok(()));
                }
            }
            self.drop_segments().map_err(|error| self.poison(VecDeque::new(), &error))?;
            if purges {
                fail_point!("raftAfterWALRelease");
            }
        }
        self.seal().map_err(|error| self.poison(VecDeque::new(), &error))?;
        self.ended = true;
        Ok(())
    }

    /// Waits for operations and takes as many as one write should carry; `None` when the log was
    /// closed and nothing waits.
    async fn next_batch(&self) -> Option<VecDeque<Operation>> {
        poll_fn(|context| {
            // Registered before looking: a wake-up in between is not lost.
            self.shared.waker.register(context.waker());
            let mut state = self.shared.state.lock();
            match take_batch(&mut state.queue) {
                Some(batch) => Poll::Ready(Some(batch)),
                None if state.closed => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn write_batch(&mut self, batch: &VecDeque<Operation>) -> Result<(), Error> {
        if self.end >= self.disk.options.segment_bytes {
            self.roll()?;
        }
        self.buffer.clear();
        self.steps.clear();
        for operation in batch {
            self.encode(&operation.request);
        }
        if !self.buffer.is_empty() {
            self.write_buffer(batch.iter().filter(|operation| operation.done.is_some()).count())?;
        }
        self.publish(batch.len())
    }

    fn encode(&mut self, request: &Request) {
        match request {
            Request::Append(entries) => {
                for entry in entries {
                    let (log_id, data) = (&entry.log_id[..], &entry.payload[..]);
                    let record = Record { kind: Kind::Entry, index: entry.index, log_id, data };
                    let (at, len) = self.push(record);
                    self.steps.push(Step::Entry(entry.index, slot(self.number, at, len)));
                }
            }
            Request::Vote(vote) => {
                self.push(Record { kind: Kind::Vote, index: 0, log_id: &[], data: vote });
                self.steps.push(Step::Vote(vote.clone()));
            }
            Request::Next(next) => {
                self.push(Record { kind: Kind::Next, index: *next, log_id: &[], data: &[] });
                self.steps.push(Step::Next(*next));
            }
            Request::Purge(index, log_id) => {
                self.push(Record { kind: Kind::Purge, index: *index, log_id, data: &[] });
                self.steps.push(Step::Purge(*index, log_id.clone()));
            }
        }
    }

    /// Encodes one record; where it will lie in the segment, and its bytes.
    fn push(&mut self, record: Record<'_>) -> (usize, usize) {
        let batch = usize::try_from(self.end).expect("a segment stays below 4 GiB");
        let at = batch + self.buffer.len();
        record::encode(&mut self.buffer, &self.segment.salt, at, batch, record);
        (at, record.encoded_len())
    }

    /// One write, one sync. When a small write passes the end of the file, zeros up to the next step
    /// travel with it: the syncs until then find the size and the blocks of the file unchanged and
    /// have only data to write. A large one has enough of its own to write.
    fn write_buffer(&mut self, operations: usize) -> Result<(), Error> {
        let bytes = self.buffer.len();
        let end = self.end + bytes as u64;
        let observer = self.disk.options.observer.clone();
        if let Some(observer) = &observer {
            observer.write_started(bytes, operations);
        }
        if end > self.file_len {
            let is_large = bytes as u64 >= self.disk.options.allocate_bytes / ZEROS_PER_WRITE_MAX;
            let file_len = if is_large { end } else { self.disk.allocated_len(end) };
            let len = usize::try_from(file_len - self.end).expect("a segment stays below 4 GiB");
            self.buffer.resize(len, 0);
            self.file_len = file_len;
        }
        let name = &self.segment.name;
        if planted::is(Mistake::AcknowledgeBeforeSync) {
            self.sync_late()?;
        }
        self.segment
            .file
            .write_at(&self.buffer, self.end)
            .map_err(|error| self.disk.io_error("cannot write", name, &error))?;
        if let Some(observer) = &observer {
            observer.sync_started();
        }
        fail_point!("walBeforeSync");
        if !planted::is(Mistake::AcknowledgeBeforeSync) {
            self.disk
                .sync_file(&*self.segment.file)
                .map_err(|error| self.disk.io_error("cannot sync", name, &error))?;
        }
        fail_point!("walAfterSync");
        if let Some(observer) = &observer {
            observer.sync_finished();
        }
        self.end = end;
        self.unsealed = true;
        let mut state = self.shared.state.lock();
        state.stats.writes += 1;
        state.stats.bytes_written += bytes as u64;
        state.stats.operations += operations as u64;
        Ok(())
    }

    /// Shows what is durable now to the readers, and lets the cache go of it.
    fn publish(&mut self, operations: usize) -> Result<(), Error> {
        let mut state = self.shared.state.lock();
        for step in self.steps.drain(..) {
            state.index.apply(step).map_err(|why| {
                Error::new(ErrorKind::Corrupt, format!("the log wrote what it cannot hold: {why}"))
            })?;
        }
        state.segments.end = self.end;
        state.written += operations as u64;
        let written = state.written;
        state.recent.evict(written, self.disk.options.cache_bytes);
        drop(state);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Syncs the write before this one, for [`Mistake::AcknowledgeBeforeSync`] alone.
    fn sync_late(&self) -> Result<(), Error> {
        let synced = self.disk.sync_file(&*self.segment.file);
        synced.map_err(|error| self.disk.io_error("cannot sync", &self.segment.name, &error))
    }

    /// Begins a new segment. Everything in the old one is synced.
    fn roll(&mut self) -> Result<(), Error> {
        if planted::is(Mistake::AcknowledgeBeforeSync) {
            self.sync_late()?;
        }
        let sequence = self.segment.sequence + 1;
        let index = self.shared.state.lock().index.head();
        let header = Header {
            sequence,
            first: index.floor,
            next: index.next(),
            previous_end: self.end,
            salt: self.disk.salt_for(sequence),
            metadata: self.metadata.clone(),
        };
        let (segment, end) = self.disk.create_segment(&header, &index)?;
        let mut state = self.shared.state.lock();
        state.segments.push(segment, end);
        self.segment = Arc::clone(state.segments.last());
        self.number = state.segments.last_number();
        self.end = end;
        self.file_len = self.disk.allocated_len(end);
        Ok(())
    }

    fn drop_segments(&mut self) -> Result<(), Error> {
        let unneeded = {
            let mut state = self.shared.state.lock();
            let state = &mut *state;
            state.segments.take_unneeded(&state.index)
        };
        self.disk.remove_segments(&unneeded)
    }

    /// At a clean end, one more write proves that the last one was durable: damage to it is then
    /// told from a torn tail.
    fn seal(&mut self) -> Result<(), Error> {
        if !self.unsealed {
            return Ok(());
        }
        let next = self.shared.state.lock().index.next();
        self.buffer.clear();
        self.push(Record { kind: Kind::Next, index: next, log_id: &[], data: &[] });
        self.write_buffer(0)
    }

    /// Fails what was being written and what waits, in order, and everything after.
    fn poison(&self, batch: VecDeque<Operation>, error: &Error) -> Error {
        let why = format!("the log failed and takes nothing more: {error}");
        let error = Error::new(error.kind(), why);
        let waiting = self.shared.state.lock().fail(&error);
        for operation in batch.into_iter().chain(waiting) {
            if let Some(done) = operation.done {
                done(Err(error.clone()));
            }
        }
        error
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let ended = Error::new(ErrorKind::Stopped, "the writer of the log was dropped");
        let waiting = self.shared.state.lock().fail(&ended);
        for done in waiting.into_iter().filter_map(|operation| operation.done) {
            done(Err(ended.clone()));
        }
    }
}

fn take_batch(queue: &mut VecDeque<Operation>) -> Option<VecDeque<Operation>> {
    let mut bytes = 0;
    let fits = |operation: &&Operation| {
        bytes += operation.bytes;
        bytes <= BATCH_BYTES_MAX
    };
    let count = queue.iter().take_while(fits).count().max(1);
    if count >= queue.len() {
        return (!queue.is_empty()).then(|| std::mem::take(queue));
    }
    Some(queue.drain(..count).collect())
}
