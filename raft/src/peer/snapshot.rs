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

/// How long a receiver waits for the next one. Whoever falls silent, on a connection that lives,
/// must not keep others from sending theirs.
const PIECE_TIME_MAX: Duration = Duration::from_secs(60);

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
        // No more than was announced may fill the disk.
        if piece.len() as u64 > self.size_bytes - self.incoming.len() {
            let message = format!("more than {} bytes came", self.size_bytes);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
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
///
/// # Errors
/// The disk failed, the stream broke off or fell silent, or it was not what was announced.
pub(super) async fn receive<R: AsyncRuntime>(
    snapshots: SnapshotDir,
    size_bytes: u64,
    first: Bytes,
    mut rest: BoxStream<'static, Result<SnapshotPiece, LinkError>>,
) -> io::Result<SnapshotFile> {
    let begun = R::spawn_blocking(move || Receiving::begin(&snapshots, size_bytes)?.take(&first));
    let mut receiving = begun.await??;
    while let Some(piece) = next_piece::<R>(&mut rest).await? {
        let piece = piece.map_err(io::Error::other)?.data;
        receiving = R::spawn_blocking(move || receiving.take(&piece)).await??;
    }
    R::spawn_blocking(move || receiving.finish()).await?
}

async fn next_piece<R: AsyncRuntime>(
    pieces: &mut BoxStream<'static, Result<SnapshotPiece, LinkError>>,
) -> io::Result<Option<Result<SnapshotPiece, LinkError>>> {
    let next = R::timeout(PIECE_TIME_MAX, pieces.next()).await;
    next.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "its sender fell silent"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use openraft_rt_tokio::TokioRuntime;

    use super::*;
    use crate::vfs::{CrashFs, Vfs};

    /// What becomes of pieces after the first, of a snapshot of 8 bytes; nothing of it stays.
    async fn received(
        pieces: BoxStream<'static, Result<SnapshotPiece, LinkError>>,
    ) -> io::ErrorKind {
        let (fs, dir) = (CrashFs::new(), Path::new("/snap"));
        let snapshots = SnapshotDir::open(Arc::new(fs.clone()), dir.to_owned(), None).unwrap();
        let first = Bytes::from_static(b"1234");
        let failed = receive::<TokioRuntime>(snapshots, 8, first, pieces).await.err().unwrap();
        assert_eq!(fs.read_dir(dir).unwrap(), [""; 0]);
        failed.kind()
    }

    fn piece(data: &'static [u8]) -> Result<SnapshotPiece, LinkError> {
        Ok(SnapshotPiece { start: None, data: data.into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_that_falls_silent_is_given_up() {
        // Proves that a stream on which nothing comes any more ends, and leaves no file.
        let silent = stream::iter([piece(b"56")]).chain(stream::pending()).boxed();
        assert_eq!(received(silent).await, io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn no_more_is_taken_than_was_announced() {
        // Proves that a piece too many ends it at once, though more were to come.
        let endless = stream::repeat_with(|| piece(b"5678")).boxed();
        assert_eq!(received(endless).await, io::ErrorKind::InvalidData);
    }
}
