//! What the engine holds.
//!
//! | key | value |
//! |---|---|
//! | `m` revision (12 bytes) | one version without its value: [`encode_version`] |
//! | `v` revision (12 bytes) | its value, if that is not empty |
//! | `l` lease id (8 bytes, sign bit flipped) | time to live (i64), log index of the grant (u64), if checkpointed time left (i64) |
//! | `a`... | auth: see `auth/records.rs` |
//! | `2`... | the tree of the v2 API: see `v2/records.rs` |
//! | `s` `alarms` | `etcdserverpb.AlarmResponse` without header |
//! | `s` `members` | `berthpb.PublishedMembers` |
//! | `s` `membership` | raft's own |
//! | `s` `mark` | how far the log was applied: [`Mark`] |
//!
//! Numbers are big endian; revisions and lease ids sort as they count.

use std::collections::BTreeMap;

use api::berthpb::{PublishMember, PublishedMembers};
use api::etcdserverpb::{AlarmMember, AlarmResponse, Member};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::state::LeaseTerm;
use crate::{Entry, Position, Revision};

pub(crate) const VERSION_PREFIX: u8 = b'm';
pub(crate) const VALUE_PREFIX: u8 = b'v';
pub(crate) const LEASE_PREFIX: u8 = b'l';

pub(crate) const ALARMS_KEY: &[u8] = b"salarms";
pub(crate) const MEMBERS_KEY: &[u8] = b"smembers";
pub(crate) const MEMBERSHIP_KEY: &[u8] = b"smembership";
pub(crate) const MARK_KEY: &[u8] = b"smark";

/// Version of these formats, in the mark.
const FORMAT: u8 = 1;

const PUT: u8 = 0;
const TOMBSTONE: u8 = 1;

pub(crate) fn version_key(revision: Revision) -> [u8; 13] {
    revision_key(VERSION_PREFIX, revision)
}

pub(crate) fn value_key(revision: Revision) -> [u8; 13] {
    revision_key(VALUE_PREFIX, revision)
}

fn revision_key(prefix: u8, revision: Revision) -> [u8; 13] {
    let mut key = [prefix; 13];
    key[1..].copy_from_slice(&revision.to_bytes());
    key
}

/// The revision in a version's or a value's key.
pub(crate) fn revision_of_key(key: &[u8]) -> Option<Revision> {
    key.get(1..)?.try_into().ok().map(Revision::from_bytes)
}

/// Kind (u8), then for a put create revision (i64), version (i64), lease (i64), length of the
/// value (u32); the rest is the key.
pub(crate) fn encode_version(key: &[u8], entry: &Entry) -> Bytes {
    let mut record = BytesMut::with_capacity(29 + key.len());
    if entry.tombstone {
        record.put_u8(TOMBSTONE);
    } else {
        record.put_u8(PUT);
        record.put_i64(entry.create_revision);
        record.put_i64(entry.version);
        record.put_i64(entry.lease);
        record.put_u32(entry.value_len);
    }
    record.put_slice(key);
    record.freeze()
}

/// The key and the version, or `None` if `record` is none.
pub(crate) fn decode_version(revision: Revision, mut record: &[u8]) -> Option<(&[u8], Entry)> {
    let mut entry =
        Entry { revision, tombstone: true, create_revision: 0, version: 0, lease: 0, value_len: 0 };
    match record.try_get_u8().ok()? {
        TOMBSTONE => {}
        PUT => {
            entry.tombstone = false;
            entry.create_revision = record.try_get_i64().ok()?;
            entry.version = record.try_get_i64().ok()?;
            entry.lease = record.try_get_i64().ok()?;
            entry.value_len = record.try_get_u32().ok()?;
            let is_possible = 0 < entry.version && entry.create_revision <= revision.main;
            is_possible.then_some(())?;
        }
        _ => return None,
    }
    Some((record, entry))
}

pub(crate) fn lease_key(id: i64) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(LEASE_PREFIX);
    key.put_u64(id.cast_unsigned() ^ (1 << 63));
    key.freeze()
}

pub(crate) fn encode_lease(term: &LeaseTerm) -> Bytes {
    let mut record = BytesMut::with_capacity(24);
    record.put_i64(term.ttl_s);
    record.put_u64(term.grant_index);
    if term.remaining_s != 0 {
        record.put_i64(term.remaining_s);
    }
    record.freeze()
}

/// The id and the rest.
pub(crate) fn decode_lease(mut key: &[u8], mut record: &[u8]) -> Option<(i64, LeaseTerm)> {
    key.try_get_u8().ok()?;
    let id = (key.try_get_u64().ok()? ^ (1 << 63)).cast_signed();
    let (ttl_s, grant_index) = (record.try_get_i64().ok()?, record.try_get_u64().ok()?);
    let remaining_s = match record {
        [] => 0,
        _ => i64::from_be_bytes(record.try_into().ok()?),
    };
    Some((id, LeaseTerm { ttl_s, grant_index, remaining_s }))
}

pub(crate) fn encode_alarms(alarms: Vec<AlarmMember>) -> Bytes {
    AlarmResponse { header: None, alarms }.encode_to_vec().into()
}

pub(crate) fn decode_alarms(record: &[u8]) -> Option<Vec<AlarmMember>> {
    AlarmResponse::decode(record).ok().map(|response| response.alarms)
}

pub(crate) fn encode_members(members: &BTreeMap<u64, PublishMember>) -> Bytes {
    let record = PublishedMembers {
        members: members.values().filter_map(|published| published.member.clone()).collect(),
        incarnations: members.values().map(|published| published.incarnation).collect(),
    };
    record.encode_to_vec().into()
}

pub(crate) fn decode_members(record: &[u8]) -> Option<BTreeMap<u64, PublishMember>> {
    let PublishedMembers { members, incarnations } = PublishedMembers::decode(record).ok()?;
    let incarnations = incarnations.into_iter().chain(std::iter::repeat(0));
    let published = |(member, incarnation): (Member, u64)| {
        (member.id, PublishMember { member: Some(member), incarnation })
    };
    Some(members.into_iter().zip(incarnations).map(published).collect())
}

/// How far the log was applied, and what the store counts from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: Position,
    pub(crate) revision: i64,
    pub(crate) compact_revision: i64,
}

impl Mark {
    /// Format (u8), index (u64), term (u64), revision (i64), compacted revision (i64); the rest
    /// is raft's log id.
    pub(crate) fn encode(&self) -> Bytes {
        let mut record = BytesMut::with_capacity(33 + self.position.log_id.len());
        record.put_u8(FORMAT);
        record.put_u64(self.position.index);
        record.put_u64(self.position.term);
        record.put_i64(self.revision);
        record.put_i64(self.compact_revision);
        record.put_slice(&self.position.log_id);
        record.freeze()
    }

    pub(crate) fn decode(mut record: &[u8]) -> Option<Mark> {
        if record.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let (index, term) = (record.try_get_u64().ok()?, record.try_get_u64().ok()?);
        let revision = record.try_get_i64().ok()?;
        let compact_revision = record.try_get_i64().ok()?;
        let log_id = Bytes::copy_from_slice(record);
        Some(Mark { position: Position { index, term, log_id }, revision, compact_revision })
    }
}
