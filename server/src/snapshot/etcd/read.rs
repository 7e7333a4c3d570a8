//! A snapshot of etcd as the pieces of a berth backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use api::authpb::{Role, User};
use api::etcdserverpb::AlarmMember;
use api::leasepb::Lease;
use api::mvccpb::KeyValue;
use prost::Message;
use raft::restore::Origin;
use sha2::{Digest, Sha256};
use store::Revision;
use store::snapshot::{Auth, Composer, Item, Version};

use super::{
    ALARM, ALIGNMENT_BYTES, AUTH, AUTH_ENABLED, AUTH_REVISION, CONSISTENT_INDEX, DIGEST_BYTES,
    FINISHED_COMPACTION, KEY, LEASE, META, ROLES, SCHEDULED_COMPACTION, TERM, USERS,
    decode_revision,
};
use crate::bolt::{Bucket, Db};

const READ_BYTES: u64 = 256 << 10;

/// A snapshot file of etcd that has been looked at.
pub(in crate::snapshot) struct Etcd {
    path: PathBuf,
    db: Db<File>,
}

/// What was found in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Imported {
    pub revision: i64,
    /// -1: there was no compaction.
    pub compact_revision: i64,
    pub versions: u64,
    pub leases: usize,
    pub users: usize,
    /// Keys whose lease does not exist any more. etcd serves them without one, and so does berth.
    pub orphans: usize,
}

/// What `etcdctl snapshot status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::snapshot) struct EtcdStatus {
    pub hash: u32,
    pub revision: i64,
    pub keys: u64,
    pub bytes: u64,
}

/// What has to be known before the first version can be written.
struct Survey {
    revision: i64,
    compact_revision: i64,
    versions: u64,
    /// Versions whose lease is not to be believed.
    orphans: BTreeSet<Revision>,
}

impl Etcd {
    /// Opens `path` and checks the SHA-256 at its end.
    ///
    /// # Errors
    /// One line that names the file, and says what is wrong with it.
    pub(in crate::snapshot) fn open(path: &Path, skip_hash_check: bool) -> Result<Self, String> {
        let named = |error: io::Error| format!("{} {}", path.display(), explain(&error));
        let file = File::open(path).map_err(named)?;
        let len = file.metadata().map_err(named)?.len();
        let has_digest = len % ALIGNMENT_BYTES == DIGEST_BYTES;
        let bytes = if has_digest { len - DIGEST_BYTES } else { len };
        if !skip_hash_check {
            if !has_digest {
                return Err(format!(
                    "{} has no SHA-256 at its end: it is cut short, or was copied out of a data \
                     directory (then use --skip-hash-check)",
                    path.display()
                ));
            }
            if !digest_is_right(&file, bytes).map_err(named)? {
                return Err(format!(
                    "{} is damaged: it does not match the SHA-256 at its end (hash mismatch)",
                    path.display()
                ));
            }
        }
        let db = Db::open(file, bytes).map_err(named)?;
        Ok(Self { path: path.to_owned(), db })
    }

    /// Writes all of it to `out` as a berth backup.
    ///
    /// # Errors
    /// One line that names the file.
    pub(in crate::snapshot) fn import(&self, out: &mut dyn Write) -> Result<Imported, String> {
        self.try_import(out).map_err(|error| format!("{} {}", self.path.display(), explain(&error)))
    }

    /// # Errors
    /// One line that names the file.
    pub(in crate::snapshot) fn status(&self) -> Result<EtcdStatus, String> {
        self.try_status().map_err(|error| format!("{} {}", self.path.display(), explain(&error)))
    }

    fn try_import(&self, out: &mut dyn Write) -> io::Result<Imported> {
        let leases = self.leases()?;
        let survey = self.survey(&leases)?;
        let auth = self.auth()?;
        let alarms = self.alarms()?;
        let meta = self.values(META)?;
        let number = |name: &[u8]| meta.get(name).and_then(|value| number(value)).unwrap_or(1);
        let origin = Origin {
            cluster_id: 0,
            index: number(CONSISTENT_INDEX).max(1),
            term: number(TERM).max(1),
        };
        let imported = Imported {
            revision: survey.revision,
            compact_revision: survey.compact_revision,
            versions: survey.versions,
            leases: leases.len(),
            users: auth.users.len(),
            orphans: survey.orphans.len(),
        };
        raft::restore::compose(out, &origin, |position, state| {
            let Survey { revision, compact_revision, .. } = survey;
            let mut composer = Composer::new(state, position, revision, compact_revision)?;
            composer.add(&Item::Auth(auth))?;
            for (id, Lease { ttl, remaining_ttl, .. }) in leases {
                let (ttl_s, remaining_s) = (ttl, remaining_ttl.max(0));
                composer.add(&Item::Lease { id, ttl_s, remaining_s })?;
            }
            composer.add(&Item::Alarms(alarms))?;
            self.each_version(|revision, kv| composer.add(&item(revision, kv, &survey.orphans)))?;
            composer.finish().map(drop)
        })?;
        Ok(imported)
    }

    fn survey(&self, leases: &BTreeMap<i64, Lease>) -> io::Result<Survey> {
        let mut survey =
            Survey { revision: 1, compact_revision: -1, versions: 0, orphans: BTreeSet::new() };
        // Keys that are now under a lease which does not exist.
        let mut orphans: BTreeMap<Vec<u8>, Revision> = BTreeMap::new();
        self.each_version(|revision, kv| {
            survey.versions += 1;
            survey.revision = survey.revision.max(revision.main);
            let is_orphan = kv.lease != 0 && !leases.contains_key(&kv.lease);
            if is_orphan {
                orphans.insert(kv.key.to_vec(), revision);
            } else if !orphans.is_empty() {
                orphans.remove(&*kv.key);
            }
            Ok(())
        })?;
        survey.orphans = orphans.into_values().collect();
        let meta = self.values(META)?;
        for name in [FINISHED_COMPACTION, SCHEDULED_COMPACTION] {
            if let Some(value) = meta.get(name) {
                let (compacted, _) =
                    decode_revision(value).ok_or_else(|| damaged("a revision in meta"))?;
                survey.compact_revision = survey.compact_revision.max(compacted.main);
            }
        }
        // Nothing may be left of the newest revisions but that they were compacted.
        survey.revision = survey.revision.max(survey.compact_revision);
        Ok(survey)
    }

    /// Visits all versions in order; a deletion has version 0.
    fn each_version(
        &self,
        mut visit: impl FnMut(Revision, &KeyValue) -> io::Result<()>,
    ) -> io::Result<()> {
        let keys = self.db.bucket(KEY)?.ok_or_else(|| damaged("it has no bucket of keys"))?;
        self.db.each(&keys, |name, value| {
            let wrong = || damaged(format!("the key of revision {}", name.escape_ascii()));
            let (revision, is_tombstone) = decode_revision(name).ok_or_else(wrong)?;
            let kv = KeyValue::decode(value).map_err(|_| wrong())?;
            let is_possible = if is_tombstone {
                kv.version == 0
            } else {
                kv.version > 0 && kv.mod_revision == revision.main
            };
            if !is_possible {
                return Err(wrong());
            }
            visit(revision, &kv)
        })
    }

    fn leases(&self) -> io::Result<BTreeMap<i64, Lease>> {
        let mut leases = BTreeMap::new();
        self.each(LEASE, |_, value| {
            let lease = Lease::decode(value).map_err(|_| damaged("a lease"))?;
            leases.insert(lease.id, lease);
            Ok(())
        })?;
        Ok(leases)
    }

    fn auth(&self) -> io::Result<Auth> {
        let mut auth = Auth { revision: 1, ..Auth::default() };
        self.each(USERS, |_, value| {
            auth.users.push(User::decode(value).map_err(|_| damaged("a user"))?);
            Ok(())
        })?;
        self.each(ROLES, |_, value| {
            auth.roles.push(Role::decode(value).map_err(|_| damaged("a role"))?);
            Ok(())
        })?;
        let rest = self.values(AUTH)?;
        auth.enabled = rest.get(AUTH_ENABLED).is_some_and(|value| *value == [1]);
        if let Some(revision) = rest.get(AUTH_REVISION).and_then(|value| number(value)) {
            auth.revision = revision.max(1);
        }
        Ok(auth)
    }

    /// They stand in the place of keys.
    fn alarms(&self) -> io::Result<Vec<AlarmMember>> {
        let mut alarms = Vec::new();
        self.each(ALARM, |key, _| {
            alarms.push(AlarmMember::decode(key).map_err(|_| damaged("an alarm"))?);
            Ok(())
        })?;
        Ok(alarms)
    }

    /// CRC32-C of the names of all buckets and of what is in them, in order.
    fn try_status(&self) -> io::Result<EtcdStatus> {
        let bytes = self.db.size_bytes();
        let mut status = EtcdStatus { hash: 0, revision: 0, keys: 0, bytes };
        self.db.buckets(|name, bucket| {
            status.hash = crc32c::crc32c_append(status.hash, name);
            self.db.each(&bucket, |key, value| {
                status.hash = crc32c::crc32c_append(status.hash, key);
                status.hash = crc32c::crc32c_append(status.hash, value);
                status.keys += 1;
                if name == KEY
                    && let Some((revision, _)) = decode_revision(key)
                {
                    status.revision = revision.main;
                }
                Ok(())
            })
        })?;
        Ok(status)
    }

    /// A small bucket.
    fn values(&self, name: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut found = BTreeMap::new();
        self.each(name, |key, value| {
            found.insert(key.to_vec(), value.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    /// A bucket that is missing has nothing in it.
    fn each(
        &self,
        name: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let found: Option<Bucket> = self.db.bucket(name)?;
        found.map_or(Ok(()), |bucket| self.db.each(&bucket, visit))
    }
}

fn item<'a>(revision: Revision, kv: &'a KeyValue, orphans: &BTreeSet<Revision>) -> Item<'a> {
    let version = (kv.version > 0).then_some(Version {
        create_revision: kv.create_revision,
        version: kv.version,
        lease: if orphans.contains(&revision) { 0 } else { kv.lease },
        value: &kv.value,
    });
    Item::Version { revision, key: &kv.key, version }
}

fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Whether the last 32 bytes of the file are the SHA-256 of the `bytes` before.
fn digest_is_right(file: &File, bytes: u64) -> io::Result<bool> {
    let mut source = io::BufReader::with_capacity(256 << 10, file);
    let mut digest = Sha256::new();
    let mut body = source.by_ref().take(bytes);
    let mut buffer = vec![0; usize::try_from(READ_BYTES).expect("a buffer fits into memory")];
    loop {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
    }
    let mut expected = Vec::new();
    source.take(DIGEST_BYTES + 1).read_to_end(&mut expected)?;
    Ok(digest.finalize().as_slice() == expected)
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// What goes behind the name of the file.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => format!("is no snapshot of etcd, or damaged ({error})"),
        io::ErrorKind::UnexpectedEof => "is cut short".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
