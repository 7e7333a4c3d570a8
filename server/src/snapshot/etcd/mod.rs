//! Snapshots of etcd: what is in which bucket of the database, and how it is written there.
//!
//! Here two formats meet, and nothing is decided: every version of every key comes out as it went
//! in, revisions and all. Pages and trees are `crate::bolt`'s business, what a berth backup is made
//! of is `raft::restore`'s. `read.rs` takes an etcd snapshot, `write.rs` makes one. The buckets are
//! listed in `docs/format/etcd.md`.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;

use store::Revision;

pub(super) use read::{Etcd, EtcdStatus, Imported};
pub(super) use write::write;

/// What the length of the database is a multiple of, as etcdctl sees it: what is left over is the
/// SHA-256 of it.
const ALIGNMENT_BYTES: u64 = 512;
const DIGEST_BYTES: u64 = 32;

const KEY: &[u8] = b"key";
const LEASE: &[u8] = b"lease";
const META: &[u8] = b"meta";
const AUTH: &[u8] = b"auth";
const USERS: &[u8] = b"authUsers";
const ROLES: &[u8] = b"authRoles";
const ALARM: &[u8] = b"alarm";
/// Of these a restore makes its own.
const MEMBERSHIP: [&[u8]; 3] = [b"members", b"members_removed", b"cluster"];

const AUTH_ENABLED: &[u8] = b"authEnabled";
const AUTH_REVISION: &[u8] = b"authRevision";
const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const TERM: &[u8] = b"term";
const SCHEDULED_COMPACTION: &[u8] = b"scheduledCompactRev";
const FINISHED_COMPACTION: &[u8] = b"finishedCompactRev";

/// Whether `path` begins as a database of bbolt does.
pub(super) fn is_etcds(path: &Path) -> bool {
    use std::io::Read;
    const MAGIC_OFFSET: usize = 16;
    let mut start = [0; MAGIC_OFFSET + 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start[MAGIC_OFFSET..] == 0xED0C_DAED_u32.to_le_bytes()
}

/// Main revision, `_`, sub revision, big endian; `t` follows if it was a deletion.
fn encode_revision(revision: Revision, is_tombstone: bool) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    key.extend_from_slice(&revision.main.to_be_bytes());
    key.push(b'_');
    key.extend_from_slice(&i64::from(revision.sub).to_be_bytes());
    if is_tombstone {
        key.push(b't');
    }
    key
}

/// The revision, and whether it was a deletion. `None`: this is no such key.
fn decode_revision(key: &[u8]) -> Option<(Revision, bool)> {
    let (main, rest) = key.split_first_chunk()?;
    let (separator, rest) = rest.split_first()?;
    let (sub, mark) = rest.split_first_chunk()?;
    let is_tombstone = match mark {
        [] => false,
        [b't'] => true,
        _ => return None,
    };
    let (main, sub) = (i64::from_be_bytes(*main), i64::from_be_bytes(*sub));
    let revision = Revision::new(main, u32::try_from(sub).ok()?);
    (*separator == b'_' && main > 0).then_some((revision, is_tombstone))
}
