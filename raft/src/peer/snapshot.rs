//! Snapshots on their way: a file in pieces, and a file from pieces.
//!
//! Whoever sends holds one piece at a time, and the transport a few: a slow receiver costs no
//! memory. A stream that breaks is begun anew by openraft; what arrived of it is thrown away.

use std::io;

use api::berthpb::{Envelope, SnapshotPiece, SnapshotStart};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use openraft::{AsyncRuntime, Instant};
use std::time::Duration;

use super::transport::LinkError;
use crate::codec;
use crate::snapshot::{Incoming, SnapshotDir, SnapshotFile};
use crate::types::Vote;

/// One piece of the file.
const PIECE_BYTES: usize = 256 << 10;

struct Sending<R: AsyncRuntime> {
    file: SnapshotFile,
    offset: u64,
    start: Option<SnapshotStart>,
    bytes_per_s_max: Option<u64>,
    begun: R::Instant,
}

/// The pieces of `file`, no faster than `bytes_per_s_max`. Ends early if the file cannot be read,
/// which the receiver sees by its length.
pub(super) fn pieces<R: AsyncRuntime>(
    file: SnapshotFile,
    envelope: Envelope,
    vote: &Vote,
    bytes_per_s_max: Option<u64>,
) -> BoxStream<'static, SnapshotPiece> {
    let start = SnapshotStart {
        envelope: Some(envelope),
        vote: codec::encode_vote(vote),
        size_bytes: file.len().unwrap_or(0),
    };
    let begun = R::Instant::now();
    let sending = Sending::<R> { file, offset: 0, start: Some(start), bytes_per_s_max, begun };
    stream::unfold(sending, Sending::next).boxed()
}

impl<R: AsyncRuntime> Sending<R> {
    async fn next(mut self) -> Option<(SnapshotPiece, Sending<R>)> {
        self.keep_to_rate().await;
        let (file, offset) = (self.file.clone(), self.offset);
        let read = R::spawn_blocking(move || file.piece(offset, PIECE_BYTES)).await;
        let data = match read.and_then(|piece| piece) {
            Ok(data) => data,
            Err(error) => {
                tracing::warn!(%error, "a snapshot that is being sent cannot be read");
                return None;
            }
        };
        if data.is_empty() && self.start.is_none() {
            return None;
        }
        self.offset += data.len() as u64;
        Some((SnapshotPiece { start: self.start.take(), data }, self))
    }

    async fn keep_to_rate(&self) {
        let Some(rate) = self.bytes_per_s_max else { return };
        let due = Duration::from_millis(self.offset.saturating_mul(1000) / rate.max(1));
        let due = self.begun + due;
        if due > R::Instant::now() {
            R::sleep_until(due).await;
        }
    }
}

/// What came of a stream of pieces.
pub(super) struct Receiving {
    incoming: Incoming,
    size_bytes: u64,
}

impl Receiving {
    /// Blocks.
    pub(super) fn begin(snapshots: &SnapshotDir, size_bytes: u64) -> io::Result<Receiving> {
        Ok(Receiving { incoming: snapshots.receive()?, size_bytes })
    }

    /// Blocks.
    pub(super) fn take(mut self, piece: &Bytes) -> io::Result<Receiving> {
        self.incoming.write(piece)?;
        Ok(self)
    }

    /// Blocks, for as long as checking takes.
    pub(super) fn finish(self) -> io::Result<SnapshotFile> {
        if self.incoming.len() != self.size_bytes {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} of {} bytes came", self.incoming.len(), self.size_bytes),
            ));
        }
        self.incoming.finish()
    }
}

/// Takes the pieces off the stream as fast as the disk does.
pub(super) async fn receive<R: AsyncRuntime>(
    snapshots: SnapshotDir,
    size_bytes: u64,
    first: Bytes,
    mut rest: BoxStream<'static, Result<SnapshotPiece, LinkError>>,
) -> io::Result<SnapshotFile> {
    let begun = R::spawn_blocking(move || Receiving::begin(&snapshots, size_bytes)?.take(&first));
    let mut receiving = begun.await??;
    while let Some(piece) = rest.next().await {
        let piece = piece.map_err(io::Error::other)?.data;
        receiving = R::spawn_blocking(move || receiving.take(&piece)).await??;
    }
    R::spawn_blocking(move || receiving.finish()).await?
}
