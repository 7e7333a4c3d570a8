//! defrag and snapshot.

use std::path::Path;

use api::etcdserverpb::{DefragmentRequest, SnapshotRequest};
use clap::Subcommand;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::args::Format;
use super::connect::Session;
use super::failure::{Failure, Outcome};
use crate::snapshot::{self, Restore};

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotVerb {
    /// Stores a snapshot of one member to a given file
    Save { file: Vec<String> },
    /// Gets backend snapshot status of a given file
    Status { file: Vec<String> },
    /// Restores an etcd member snapshot to an etcd directory
    Restore(Restore),
}

pub(super) async fn defrag(cluster: bool, session: &mut Session) -> Outcome {
    let mut outcome = Ok(());
    for endpoint in session.each_endpoint(cluster).await? {
        match defrag_one(&endpoint, session).await {
            Ok(()) => println!("Finished defragmenting etcd member[{endpoint}]"),
            Err(failure) => {
                let message = failure.message;
                eprintln!("Failed to defragment etcd member[{endpoint}] ({message})");
                outcome = Err(Failure::error(format!("{endpoint} was not defragmented")));
            }
        }
    }
    outcome
}

async fn defrag_one(endpoint: &str, session: &Session) -> Outcome {
    let mut client = session.maintenance_of(endpoint).await?;
    session.call(client.defragment(DefragmentRequest {})).await?;
    Ok(())
}

pub(super) fn snapshot_status(file: &[String], format: Format) -> Outcome {
    let [file] = file else {
        return Err(Failure::bad_args("snapshot status requires exactly one argument"));
    };
    snapshot::status(Path::new(file), format).map_err(Failure::error)
}

pub(super) async fn snapshot_save(file: &[String], session: &Session) -> Outcome {
    let [file] = file else {
        return Err(Failure::bad_args("snapshot save expects one argument"));
    };
    let path = Path::new(file);
    let part = path.with_file_name(match path.file_name() {
        Some(name) => format!("{}.part", name.to_string_lossy()),
        None => return Err(Failure::bad_args(format!("{file:?} is not the name of a file"))),
    });
    let saved = save(&part, path, session).await;
    if saved.is_err() {
        // What is left of a broken download helps nobody.
        let _ = std::fs::remove_file(&part);
    }
    saved?;
    println!("Snapshot saved at {file}");
    Ok(())
}

/// Downloads to `part`, checks the digest, and only then gives the file its name.
async fn save(part: &Path, path: &Path, session: &Session) -> Outcome {
    let cannot = |error: std::io::Error| Failure::io(&format!("cannot write {part:?}"), &error);
    let mut client = session.maintenance().await?;
    let mut stream = session.call(client.snapshot(SnapshotRequest {})).await?;
    let mut file = create_private(part).await.map_err(cannot)?;
    let mut check = TrailingDigest::default();
    while let Some(piece) = stream.message().await? {
        check.update(&piece.blob);
        file.write_all(&piece.blob).await.map_err(cannot)?;
    }
    check.verify()?;
    file.sync_all().await.map_err(cannot)?;
    tokio::fs::rename(part, path).await.map_err(cannot)
}

/// A snapshot holds every secret of the store: only its owner may read the file. What was left of
/// an earlier attempt may be another's to read, or lead elsewhere, and is not written into.
async fn create_private(path: &Path) -> std::io::Result<File> {
    let _ = tokio::fs::remove_file(path).await;
    File::options().create_new(true).write(true).mode(0o600).open(path).await
}

/// Digest of a stream whose last 32 bytes are the SHA-256 of all before them.
#[derive(Default)]
struct TrailingDigest {
    digest: Sha256,
    held: Vec<u8>,
}

const DIGEST_BYTES: usize = 32;

impl TrailingDigest {
    fn update(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let known = self.held.len().saturating_sub(DIGEST_BYTES);
        self.digest.update(&self.held[..known]);
        self.held.drain(..known);
    }

    fn verify(self) -> Outcome {
        let computed = self.digest.finalize();
        if computed.as_slice() == self.held {
            return Ok(());
        }
        Err(Failure::error(
            "the snapshot arrived damaged or cut short: its SHA-256 does not match; try again",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a complete stream passes, however it is cut, and that a changed one does not.
    #[test]
    fn trailing_digest_is_checked() {
        let mut bytes = vec![7; 1000];
        bytes.extend(Sha256::digest(&bytes));
        for piece in [1, 31, 33, 5000] {
            let mut check = TrailingDigest::default();
            bytes.chunks(piece).for_each(|piece| check.update(piece));
            assert!(check.verify().is_ok());
        }
        bytes[3] ^= 1;
        let mut check = TrailingDigest::default();
        check.update(&bytes);
        assert!(check.verify().is_err());
        assert!(TrailingDigest::default().verify().is_err());
    }
}
