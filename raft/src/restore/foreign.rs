//! Backups as the way from and to other stores.

use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use store::Position;
use store::snapshot::{Item, Summary};

use super::backup::{ALIGNMENT_BYTES, Ending, Source};
use crate::codec;
use crate::error::Error;
use crate::snapshot::SnapshotHeader;
use crate::types::{CommittedLeaderId, LogId, SnapshotMeta, StoredMembership};

/// Where in whose log a state was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub cluster_id: u64,
    /// The last entry in the state and its term, as etcd counts: from 1.
    pub index: u64,
    pub term: u64,
}

/// Writes a backup file to `out`. `write_state` writes the state as of the position it is given, as
/// a snapshot of `store`.
///
/// # Errors
/// Those of `out` and of `write_state`; what was written is then no backup.
pub fn compose(
    out: &mut dyn Write,
    origin: &Origin,
    write_state: impl FnOnce(Position, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let log_id = LogId {
        leader_id: CommittedLeaderId::new(origin.term.saturating_sub(1)),
        index: origin.index.saturating_sub(1),
    };
    let meta =
        SnapshotMeta { last_log_id: Some(log_id), last_membership: StoredMembership::default() };
    let header = SnapshotHeader { cluster_id: origin.cluster_id, meta };
    let mut sealed = Sealed { out, digest: Sha256::new(), bytes: 0 };
    sealed.write_all(&header.encode())?;
    write_state(codec::position(&log_id), &mut sealed)?;
    sealed.seal()
}

/// Visits everything in a backup but who its members were; see [`store::snapshot::dissect`]. What
/// was visited counts only when this has returned.
///
/// # Errors
/// [`Error::Refused`] says what is wrong with the file, or what the visitor said.
pub fn dissect(
    path: &Path,
    skip_hash_check: bool,
    mut visit: impl FnMut(Item<'_>) -> io::Result<()>,
) -> Result<Summary, Error> {
    let mut source = Source::open(path)?;
    let mut refusal = None;
    let visited = store::snapshot::dissect(&mut source.state, |item| {
        visit(item).map_err(|error| {
            refusal = Some(Error::Refused(error.to_string()));
            io::ErrorKind::Other.into()
        })
    });
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let summary = visited.map_err(|error| source.refuse(&error))?;
    source.finish(&summary, |ending| skip_hash_check || ending == Ending::Right)?;
    Ok(summary)
}

/// Digests what is written.
struct Sealed<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
    bytes: u64,
}

impl Sealed<'_> {
    fn seal(mut self) -> io::Result<()> {
        let zeros = self.bytes.next_multiple_of(ALIGNMENT_BYTES) - self.bytes;
        io::copy(&mut io::Read::take(io::repeat(0), zeros), &mut self)?;
        self.out.write_all(&self.digest.finalize())?;
        self.out.flush()
    }
}

impl Write for Sealed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.digest.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
