//! A snapshot as the first state of another cluster.
//!
//! Keys, leases, users and alarms stay as they are; who the members were, and where in whose log
//! this was, does not. Records are passed on as they come, so memory does not grow with the state.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};

use super::{OTHER, VERSION, codec, u32_len};
use crate::persist::records::{self, Mark};
use crate::{Position, Revision, v2};

/// What is different in the new cluster.
#[derive(Clone, Debug)]
pub struct Transplant {
    /// Where its log begins: the entry that would have set `membership`.
    pub position: Position,
    /// Raft's own, opaque here.
    pub membership: Bytes,
    /// How much the revision grows by: whoever knew a revision of the old cluster then knows one
    /// of the past. 0: it stays.
    pub bump_revision: i64,
    /// Everything before the (grown) revision is compacted, so that watchers who come back with a
    /// revision of the old cluster are told so.
    pub mark_compacted: bool,
}

/// What is in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub position: Position,
    pub revision: i64,
    /// -1: there was no compaction.
    pub compact_revision: i64,
    /// Of every kind: versions of keys, leases, users and the rest.
    pub records: u64,
    /// Files and directories of the v2 API among them, which no other format has a place for.
    pub v2_nodes: u64,
    /// Over all records, as they are.
    pub crc: u32,
}

/// Reads a whole snapshot and changes nothing. What follows it in `source` is left there.
///
/// # Errors
/// As [`codec::Reader`] has them; all else comes from `source`.
pub fn summarize(source: &mut dyn Read) -> io::Result<Summary> {
    pass(source, |_| Ok(()))
}

/// Copies a snapshot with the changes of `plan`; the summary is of what was read. What follows the
/// snapshot in `source` is left there.
///
/// # Errors
/// As [`codec::Reader`] has them, [`io::ErrorKind::InvalidInput`] if the revision cannot grow so
/// much; all else comes from `source` or `out`. What was written is then no snapshot.
pub fn transplant(
    source: &mut dyn Read,
    out: &mut dyn Write,
    plan: &Transplant,
) -> io::Result<Summary> {
    let mut writer = codec::Writer::new(out)?;
    let summary = pass(source, |record| plan.pass_on(&record, &mut writer))?;
    writer.finish()?;
    Ok(summary)
}

/// A record, as far as it matters here.
pub(super) enum Record<'a> {
    Mark(&'a Mark),
    Members,
    Membership,
    /// Everything else, whole.
    Kept(&'a [u8]),
}

pub(super) fn pass(
    source: &mut dyn Read,
    mut visit: impl FnMut(Record<'_>) -> io::Result<()>,
) -> io::Result<Summary> {
    let mut reader = codec::Reader::embedded(source)?;
    let mut crc = crc32fast::Hasher::new();
    let first = reader.next()?.ok_or_else(|| damaged("it has no records"))?;
    crc.update(&first);
    let mark = decode_mark(&first).ok_or_else(|| damaged("its first record is no mark"))?;
    visit(Record::Mark(&mark))?;
    let mut v2_nodes = 0;
    while let Some(record) = reader.next()? {
        crc.update(&record);
        v2_nodes += u64::from(is_v2_node(&record));
        visit(classify(&record, &mark).ok_or_else(|| damaged("a record of it"))?)?;
    }
    let Mark { position, revision, compact_revision } = mark;
    let (records, crc) = (reader.records(), crc.finalize());
    Ok(Summary { position, revision, compact_revision, records, v2_nodes, crc })
}

fn is_v2_node(record: &[u8]) -> bool {
    record.first() == Some(&OTHER)
        && split_other(record).is_some_and(|(key, _)| v2::records::is_node_key(key))
}

fn decode_mark(record: &[u8]) -> Option<Mark> {
    let (key, mark) = split_other(record)?;
    if key == records::MARK_KEY { Mark::decode(mark) } else { None }
}

/// Key and value of a record that is no version.
pub(super) fn split_other(mut record: &[u8]) -> Option<(&[u8], &[u8])> {
    if record.try_get_u8().ok()? != OTHER {
        return None;
    }
    let len = record.try_get_u32().ok()? as usize;
    record.split_at_checked(len)
}

fn classify<'a>(record: &'a [u8], mark: &Mark) -> Option<Record<'a>> {
    if *record.first()? == VERSION {
        check_version(&record[1..], mark)?;
        return Some(Record::Kept(record));
    }
    match split_other(record)?.0 {
        records::MARK_KEY => None,
        records::MEMBERS_KEY => Some(Record::Members),
        records::MEMBERSHIP_KEY => Some(Record::Membership),
        _ => Some(Record::Kept(record)),
    }
}

/// What nobody could load must not be passed on.
fn check_version(mut record: &[u8], mark: &Mark) -> Option<()> {
    let mut revision = [0; Revision::BYTES];
    record.try_copy_to_slice(&mut revision).ok()?;
    let revision = Revision::from_bytes(revision);
    let len = record.try_get_u32().ok()? as usize;
    let (version, value) = record.split_at_checked(len)?;
    let (_, entry) = records::decode_version(revision, version)?;
    (entry.value_len as usize == value.len() && revision.main <= mark.revision).then_some(())
}

impl Transplant {
    fn pass_on(
        &self,
        record: &Record<'_>,
        writer: &mut codec::Writer<&mut dyn Write>,
    ) -> io::Result<()> {
        match record {
            Record::Mark(mark) => {
                let mark = self.mark(mark)?.encode();
                writer.record(&[
                    &[OTHER],
                    &u32_len(records::MARK_KEY),
                    records::MARK_KEY,
                    &mark,
                ])?;
                let key = records::MEMBERSHIP_KEY;
                writer.record(&[&[OTHER], &u32_len(key), key, &self.membership])
            }
            // The new members publish themselves when they start.
            Record::Members | Record::Membership => Ok(()),
            Record::Kept(record) => writer.record(&[record]),
        }
    }

    fn mark(&self, old: &Mark) -> io::Result<Mark> {
        let revision = old.revision.checked_add(self.bump_revision).ok_or_else(|| {
            let (revision, bump) = (old.revision, self.bump_revision);
            let text = format!("revision {revision} cannot grow by {bump}: it has 63 bits");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let compact_revision = if self.mark_compacted { revision } else { old.compact_revision };
        Ok(Mark { position: self.position.clone(), revision, compact_revision })
    }
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged snapshot: {what}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::berthpb::command::Op;
    use api::berthpb::{Command, PublishMember};
    use api::etcdserverpb as pb;

    use super::*;
    use crate::engine::MemEngine;
    use crate::{Error, Options, Store};

    /// Three versions; mark, auth, lease, alarms, members, membership.
    const RECORDS: u64 = 9;

    /// Three revisions of one key under a lease, a published member, a membership.
    fn old() -> Store {
        let mut store = Store::open(Arc::new(MemEngine::default()), Options::default()).unwrap();
        let put = |value: &'static str| {
            let (key, value) = ("k".into(), value.into());
            Op::Put(pb::PutRequest { key, value, lease: 7, ..Default::default() })
        };
        let member = Some(pb::Member { id: 5, name: "old".into(), ..Default::default() });
        let ops = [
            Op::LeaseGrant(pb::LeaseGrantRequest { id: 7, ttl: 60 }),
            Op::PublishMember(PublishMember { member, incarnation: 1 }),
            put("1"),
            put("2"),
            put("3"),
        ];
        for (index, op) in (1..).zip(ops) {
            let command = Command { op: Some(op), ..Default::default() };
            store.apply(at(index), &command).result.unwrap();
        }
        store.advance(at(6), Some("old membership".into()));
        store
    }

    fn at(index: u64) -> Position {
        Position { index, term: 1, log_id: index.to_string().into() }
    }

    fn bytes_of(store: &Store) -> Vec<u8> {
        let mut bytes = Vec::new();
        store.snapshot().write_to(&mut bytes).unwrap();
        bytes
    }

    fn plan(bump_revision: i64, mark_compacted: bool) -> Transplant {
        let membership = Bytes::from_static(b"new membership");
        Transplant { position: at(7), membership, bump_revision, mark_compacted }
    }

    fn transplanted(plan: &Transplant) -> Store {
        let (mut source, mut out) = (&[bytes_of(&old()), vec![9; 9]].concat()[..], Vec::new());
        let summary = transplant(&mut source, &mut out, plan).unwrap();
        assert_eq!((summary.revision, summary.position), (4, at(6)));
        assert_eq!(source, [9; 9], "what follows is left");
        let engine = Arc::new(MemEngine::default());
        Store::restore(engine, Options::default(), &mut &out[..]).unwrap()
    }

    fn value_at(store: &Store, revision: i64) -> Result<Bytes, Error> {
        let request = pb::RangeRequest { key: "k".into(), revision, ..Default::default() };
        let range = store.reader().range(None, &request)?;
        Ok(range.kvs[0].value.clone())
    }

    #[test]
    fn data_stays_and_the_old_cluster_goes() {
        // Proves that keys with their history and leases survive, and that nothing of the old
        // members does.
        let store = transplanted(&plan(0, false));
        let reader = store.reader();
        assert_eq!(reader.position(), at(7));
        assert_eq!(reader.membership().unwrap(), "new membership");
        assert!(reader.members().is_empty());
        assert_eq!(reader.revision(), 4);
        assert_eq!(value_at(&store, 2).unwrap(), "1");
        assert_eq!(value_at(&store, 0).unwrap(), "3");
        assert_eq!(reader.lease(7).unwrap().keys, 1);
        assert_eq!(reader.hash_kv(0).unwrap(), old().reader().hash_kv(0).unwrap());
    }

    #[test]
    fn a_bumped_revision_leaves_the_old_ones_behind() {
        // Proves that with a bump and the mark every revision of the old cluster is compacted, and
        // that writing goes on behind the bump.
        let mut store = transplanted(&plan(1000, true));
        assert_eq!(store.reader().revision(), 1004);
        assert_eq!(store.reader().compact_revision(), 1004);
        assert_eq!(value_at(&store, 0).unwrap(), "3");
        assert_eq!(value_at(&store, 1003).unwrap_err(), Error::Compacted);
        assert_eq!(value_at(&store, 4).unwrap_err(), Error::Compacted);
        assert_eq!(summarize(&mut &bytes_of(&store)[..]).unwrap().records, RECORDS - 2);
        assert_eq!(value_at(&store, 0).unwrap(), "3");
        let put = pb::PutRequest { key: "k".into(), value: "4".into(), ..Default::default() };
        let command = Command { op: Some(Op::Put(put)), ..Default::default() };
        assert_eq!(store.apply(at(8), &command).revision, 1005);
    }

    #[test]
    fn damage_and_an_impossible_bump_are_refused() {
        // Proves that a cut or changed snapshot gives an error and never half a state.
        let bytes = bytes_of(&old());
        let refused = |bytes: &[u8], plan: &Transplant| {
            let mut out = Vec::new();
            transplant(&mut &*bytes, &mut out, plan).unwrap_err().kind()
        };
        for len in 0..bytes.len() {
            let kind = refused(&bytes[..len], &plan(0, false));
            assert_eq!(kind, io::ErrorKind::UnexpectedEof, "{len}");
            let mut changed = bytes.clone();
            changed[len] ^= 1;
            refused(&changed, &plan(0, false));
        }
        assert_eq!(refused(&bytes, &plan(i64::MAX, true)), io::ErrorKind::InvalidInput);
        assert_eq!(summarize(&mut &bytes[..]).unwrap().records, RECORDS);
    }
}
