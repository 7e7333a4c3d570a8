//! `Snapshot`: the whole state as a file, in blobs.
//!
//! The file (`docs/format/backup.md`) is a snapshot file as in the data directory, filled with
//! zeros to a multiple of 512 bytes, because etcdctl keeps only files whose length says that a
//! checksum follows; then come the 32 bytes of the SHA-256 of all before.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use api::etcdserverpb::SnapshotResponse;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, future, stream};
use raft::Backup;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::feed::STALL_MAX;
use super::turns::{self, Turn};
use crate::CLUSTER_VERSION;
use crate::http::ServiceMetrics;

/// As etcd's.
const BLOB_BYTES: usize = 32 << 10;
/// Blobs made before the client takes them.
const BLOBS_AHEAD: usize = 4;
/// What the length of the file without its checksum is a multiple of.
const ALIGNMENT_BYTES: usize = 512;

const _: () = assert!(BLOB_BYTES.is_multiple_of(ALIGNMENT_BYTES));

pub(super) type SnapshotStream = BoxStream<'static, Result<SnapshotResponse, Status>>;

/// Streams `backup`. How long the file will be is not known before it is written:
/// `bytes_expected` is what the client is told, as an estimate. `turn` goes with the last of it.
pub(super) fn start(
    backup: Backup,
    bytes_expected: u64,
    turn: Turn,
    metrics: ServiceMetrics,
) -> SnapshotStream {
    let (tx, rx) = mpsc::channel(BLOBS_AHEAD);
    let complete = Arc::new(AtomicBool::new(false));
    let told = complete.clone();
    let workers = Handle::current();
    turns::spawn(move || {
        let _turn = turn;
        let began = Instant::now();
        let mut blobs = Blobs::new(bytes_expected, |blob| send(&workers, &tx, blob));
        match backup.write_to(&mut blobs).and_then(|()| blobs.finish()) {
            Ok(()) => {
                metrics.sent_snapshot(began);
                complete.store(true, Ordering::Release);
            }
            Err(error) => tracing::warn!(%error, "a snapshot for a client broke off"),
        }
        // Only now does the sender go, and the stream end.
    });
    let end = stream::once(async move {
        let broken = || Status::new(Code::Unavailable, "etcdserver: the snapshot broke off");
        (!told.load(Ordering::Acquire)).then(|| Err(broken()))
    });
    ReceiverStream::new(rx).chain(end.filter_map(future::ready)).boxed()
}

type Sender = mpsc::Sender<Result<SnapshotResponse, Status>>;

/// Waits for the client, within bounds: as long as the backup is there, nothing that is in it can
/// be compacted away.
fn send(workers: &Handle, sender: &Sender, blob: SnapshotResponse) -> io::Result<()> {
    // Theirs is the clock: the threads of turns have none.
    let sent = workers.block_on(sender.send_timeout(Ok(blob), STALL_MAX));
    sent.map_err(|error| match error {
        SendTimeoutError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
        SendTimeoutError::Timeout(_) => io::ErrorKind::TimedOut.into(),
    })
}

/// Cuts what is written into blobs.
struct Blobs<F> {
    send: F,
    /// The last bytes written; sent when it is known that there is more.
    blob: BytesMut,
    sha: Sha256,
    bytes_expected: u64,
    bytes_sent: u64,
}

impl<F: FnMut(SnapshotResponse) -> io::Result<()>> Blobs<F> {
    fn new(bytes_expected: u64, send: F) -> Self {
        let blob = BytesMut::with_capacity(BLOB_BYTES);
        Self { send, blob, sha: Sha256::new(), bytes_expected, bytes_sent: 0 }
    }

    /// Fills up, sends the last blob and the checksum.
    fn finish(mut self) -> io::Result<()> {
        let padded = self.blob.len().next_multiple_of(ALIGNMENT_BYTES);
        self.blob.resize(padded, 0);
        self.send_blob(true)?;
        let sha = std::mem::take(&mut self.sha).finalize();
        (self.send)(response(0, Bytes::copy_from_slice(&sha)))
    }

    fn send_blob(&mut self, last: bool) -> io::Result<()> {
        let blob = self.blob.split().freeze();
        self.sha.update(&blob);
        self.bytes_sent += blob.len() as u64;
        // Some clients take 0 for the end.
        let estimate = self.bytes_expected.saturating_sub(self.bytes_sent).max(1);
        (self.send)(response(if last { 0 } else { estimate }, blob))
    }
}

impl<F: FnMut(SnapshotResponse) -> io::Result<()>> Write for Blobs<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.blob.len() == BLOB_BYTES {
            self.send_blob(false)?;
        }
        let taken = bytes.len().min(BLOB_BYTES - self.blob.len());
        self.blob.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn response(remaining_bytes: u64, blob: Bytes) -> SnapshotResponse {
    let version = CLUSTER_VERSION.to_owned();
    // etcd gives no header here.
    SnapshotResponse { header: None, remaining_bytes, blob, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(len: usize) -> Vec<SnapshotResponse> {
        let mut sent = Vec::new();
        let mut blobs = Blobs::new(100, |blob| {
            sent.push(blob);
            Ok(())
        });
        blobs.write_all(&vec![7; len]).unwrap();
        blobs.finish().unwrap();
        sent
    }

    #[test]
    fn the_file_is_whole_and_carries_its_checksum() {
        // Shows what etcdctl checks before it keeps a file: its length and the SHA-256 at its end;
        // and that only the last blobs say that nothing remains.
        for len in [1, 512, BLOB_BYTES, BLOB_BYTES + 1, 3 * BLOB_BYTES] {
            let sent = streamed(len);
            let file: Vec<u8> = sent.iter().flat_map(|sent| sent.blob.to_vec()).collect();
            let (body, sha) = file.split_at(file.len() - 32);
            assert_eq!(file.len() % ALIGNMENT_BYTES, 32, "{len}");
            assert_eq!(sha, Sha256::digest(body).as_slice());
            assert!(body[..len].iter().all(|byte| *byte == 7));
            assert!(body[len..].iter().all(|byte| *byte == 0));
            assert!(body.len() - len < ALIGNMENT_BYTES);
            let ends = sent.iter().filter(|sent| sent.remaining_bytes == 0).count();
            assert_eq!(ends, 2, "{len}");
        }
    }

    #[test]
    fn a_client_that_leaves_ends_the_writing() {
        // Shows that nothing more is read for a client that has gone.
        let mut blobs = Blobs::new(0, |_| Err(io::ErrorKind::BrokenPipe.into()));
        let written = blobs.write_all(&vec![0; 2 * BLOB_BYTES]);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
