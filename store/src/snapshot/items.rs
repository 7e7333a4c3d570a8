//! A state piece by piece, for whoever has another format for the same things.
//!
//! What the pieces mean is told, not how the engine has them: [`dissect`] takes a snapshot apart,
//! a [`Composer`] puts one together. Who the members are belongs to neither.

use std::io::{self, Read, Write};

use api::authpb::{Role, User};
use api::etcdserverpb::AlarmMember;
use bytes::Bytes;

use super::transplant::{Record, Summary, damaged, pass, split_other};
use super::{OTHER, VERSION, codec, u32_len};
use crate::auth::AuthState;
use crate::persist::records::{self, Mark};
use crate::state::{Alarms, LeaseTerm};
use crate::{Entry, Position, Revision, v2};

/// One piece of a state.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    Lease {
        id: i64,
        ttl_s: i64,
        /// Of the time to live, at the last checkpoint; 0: all of it.
        remaining_s: i64,
    },
    Auth(Auth),
    Alarms(Vec<AlarmMember>),
    /// One write of one key.
    Version {
        revision: Revision,
        key: &'a [u8],
        version: Option<Version<'a>>,
    },
}

/// What a key was after a put. There is none after a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    pub create_revision: i64,
    pub version: i64,
    /// 0: none.
    pub lease: i64,
    pub value: &'a [u8],
}

/// All of auth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    pub enabled: bool,
    pub revision: u64,
    pub users: Vec<User>,
    pub roles: Vec<Role>,
}

/// Visits everything in a snapshot: leases, auth and alarms first, then all versions in the order
/// of their revisions. What follows the snapshot in `source` is left there.
///
/// # Errors
/// As [`codec::Reader`] has them: until it returns, what was visited may be part of something
/// damaged. All else comes from `source` or the visitor.
pub fn dissect(
    source: &mut dyn Read,
    mut visit: impl FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<Summary> {
    let mut auth = Some(Vec::new());
    let summary = pass(source, |record| {
        let Record::Kept(record) = record else { return Ok(()) };
        if record.first() == Some(&VERSION) {
            if let Some(records) = auth.take() {
                visit(Item::Auth(load_auth(records)?))?;
            }
            return visit(version_of(record).ok_or_else(|| damaged("a version"))?);
        }
        let (key, value) = split_other(record).ok_or_else(|| damaged("a record of it"))?;
        if key.starts_with(crate::auth::PREFIX) {
            let record = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            let records = auth.as_mut().ok_or_else(|| damaged("the order of its records"))?;
            records.push(record);
            return Ok(());
        }
        // The tree of the v2 API has no place in other formats.
        if key.first() == Some(&v2::records::PREFIX) {
            return Ok(());
        }
        visit(other_item(key, value).ok_or_else(|| damaged("a record of it"))?)
    })?;
    if let Some(records) = auth {
        visit(Item::Auth(load_auth(records)?))?;
    }
    Ok(summary)
}

fn load_auth(records: Vec<(Bytes, Bytes)>) -> io::Result<Auth> {
    Ok(AuthState::load(records).map_err(io::Error::other)?.export())
}

fn other_item(key: &[u8], value: &[u8]) -> Option<Item<'static>> {
    if key == records::ALARMS_KEY {
        return Some(Item::Alarms(records::decode_alarms(value)?));
    }
    if key.first() != Some(&records::LEASE_PREFIX) {
        return None;
    }
    let (id, LeaseTerm { ttl_s, remaining_s, .. }) = records::decode_lease(key, value)?;
    Some(Item::Lease { id, ttl_s, remaining_s })
}

fn version_of(record: &[u8]) -> Option<Item<'_>> {
    let (revision, rest) = record.get(1..)?.split_first_chunk::<{ Revision::BYTES }>()?;
    let revision = Revision::from_bytes(*revision);
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (version, value) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    let (key, entry) = records::decode_version(revision, version)?;
    let Entry { create_revision, version, lease, .. } = entry;
    let version = (!entry.tombstone).then_some(Version { create_revision, version, lease, value });
    Some(Item::Version { revision, key, version })
}

/// Writes a snapshot from pieces: versions in the order of their revisions, all else before them.
/// Without [`Composer::finish`] it stays one that no reader accepts.
pub struct Composer<W> {
    writer: codec::Writer<W>,
    mark: Mark,
    last: Option<Revision>,
}

impl<W: Write> Composer<W> {
    /// Of a state that has applied the log up to `position`.
    ///
    /// # Errors
    /// Those of `out`, here and below.
    pub fn new(
        out: W,
        position: Position,
        revision: i64,
        compact_revision: i64,
    ) -> io::Result<Self> {
        let mark = Mark { position, revision, compact_revision };
        let mut composer = Self { writer: codec::Writer::new(out)?, mark, last: None };
        composer.record(records::MARK_KEY, &composer.mark.encode())?;
        Ok(composer)
    }

    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what cannot be part of a state; those of the output.
    pub fn add(&mut self, item: &Item<'_>) -> io::Result<()> {
        match item {
            Item::Version { revision, key, version } => {
                self.version(*revision, key, version.as_ref())
            }
            Item::Lease { id, ttl_s, remaining_s } => {
                let (ttl_s, remaining_s) = (*ttl_s, *remaining_s);
                let grant_index = self.mark.position.index;
                let record = records::encode_lease(&LeaseTerm { ttl_s, grant_index, remaining_s });
                self.record(&records::lease_key(*id), &record)
            }
            Item::Auth(auth) => {
                for (key, record) in AuthState::import(auth).records() {
                    self.record(&key, &record)?;
                }
                Ok(())
            }
            Item::Alarms(raised) => {
                let mut alarms = Alarms::default();
                for alarm in raised {
                    alarms.raise(alarm.alarm, alarm.member_id);
                }
                self.record(records::ALARMS_KEY, &records::encode_alarms(alarms.of_type(0)))
            }
        }
    }

    /// # Errors
    /// Those of the output.
    pub fn finish(self) -> io::Result<W> {
        self.writer.finish()
    }

    fn record(&mut self, key: &[u8], record: &[u8]) -> io::Result<()> {
        self.writer.record(&[&[OTHER], &u32_len(key), key, record])
    }

    fn version(
        &mut self,
        revision: Revision,
        key: &[u8],
        version: Option<&Version<'_>>,
    ) -> io::Result<()> {
        let entry = entry_of(revision, version);
        let is_possible = revision.main <= self.mark.revision
            && self.last.is_none_or(|last| last < revision)
            && (entry.tombstone
                || (entry.version > 0 && (1..=revision.main).contains(&entry.create_revision)));
        if !is_possible {
            let text = format!("revision {revision:?} of key {}", key.escape_ascii());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text + " is impossible"));
        }
        self.last = Some(revision);
        let record = records::encode_version(key, &entry);
        let value = version.map_or(&[][..], |version| version.value);
        let revision = revision.to_bytes();
        self.writer.record(&[&[VERSION], &revision, &u32_len(&record), &record, value])
    }
}

fn entry_of(revision: Revision, version: Option<&Version<'_>>) -> Entry {
    let tombstone =
        Entry { revision, tombstone: true, create_revision: 0, version: 0, lease: 0, value_len: 0 };
    version.map_or(tombstone, |version| Entry {
        tombstone: false,
        create_revision: version.create_revision,
        version: version.version,
        lease: version.lease,
        // A longer one is refused by the writer of records.
        value_len: u32::try_from(version.value.len()).unwrap_or(u32::MAX),
        ..tombstone
    })
}
