//! How Raft's own things are written in the log, in snapshots and in the store's marks.
//!
//! Integers are big endian. These bytes are on disk: a change needs a new version of the log's
//! metadata (see `open/metadata.rs`).
//!
//! ```text
//! log id      term u64, index u64
//! vote        term u64, node u64, committed u8 (0 | 1)
//! payload     kind u8, then
//!               0 blank       nothing
//!               1 command     berthpb.Command
//!               2 membership  MembershipRecord
//! ```
//!
//! A member must do with an entry what all others do with it, so one with anything in it that this
//! version does not know is refused as a whole ([`is_of_later_version`]), and ends the member: to
//! leave out what is not known would be another state than the others'.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use api::berthpb::Command;
use bytes::{BufMut, Bytes, BytesMut};
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use prost::Message;
use store::Position;

use crate::types::{
    CommittedLeaderId, LeaderId, LogId, Membership, Payload, Peer, Proposal, StoredMembership, Vote,
};

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(crate) fn encode_log_id(log_id: &LogId) -> Bytes {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&log_id.leader_id.term.to_be_bytes());
    out[8..].copy_from_slice(&log_id.index.to_be_bytes());
    Bytes::copy_from_slice(&out)
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> io::Result<LogId> {
    let (term, index) = bytes.split_at_checked(8).ok_or_else(|| damaged("log id"))?;
    let (term, index) = (not_last(number(term)?)?, not_last(number(index)?)?);
    Ok(LogId { leader_id: CommittedLeaderId::new(term), index })
}

/// A log id as everyone outside this crate sees it. Openraft counts entries and terms from 0, etcd
/// from 1; so does whoever looks at a [`Position`], where 0 is "nothing yet".
pub(crate) fn position(log_id: &LogId) -> Position {
    Position {
        index: log_id.index + 1,
        term: log_id.leader_id.term + 1,
        log_id: encode_log_id(log_id),
    }
}

/// The log id at a position; `None`: nothing yet.
pub(crate) fn log_id_at(position: &Position) -> io::Result<Option<LogId>> {
    match position.log_id.as_ref() {
        [] => Ok(None),
        bytes => decode_log_id(bytes).map(Some),
    }
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u64(vote.leader_id.term);
    out.put_u64(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
    out.freeze()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let [ids @ .., committed @ (0 | 1)] = bytes else { return Err(damaged("vote")) };
    let (term, node) = ids.split_at_checked(8).ok_or_else(|| damaged("vote"))?;
    let leader_id = LeaderId::new(not_last(number(term)?)?, number(node)?);
    Ok(Vote { leader_id, committed: *committed == 1 })
}

pub(crate) fn encode_command(command: &Command) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + command.encoded_len());
    out.put_u8(COMMAND);
    command.encode(&mut out).expect("a BytesMut grows as needed");
    out.freeze()
}

pub(crate) fn encode_payload(payload: &Payload) -> Bytes {
    match payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(proposal) => proposal.payload().clone(),
        EntryPayload::Membership(membership) => {
            let record = MembershipRecord::from(membership);
            let mut out = BytesMut::with_capacity(1 + record.encoded_len());
            out.put_u8(MEMBERSHIP);
            record.encode(&mut out).expect("a BytesMut grows as needed");
            out.freeze()
        }
    }
}

pub(crate) fn decode_payload(payload: Bytes) -> io::Result<Payload> {
    let kind = *payload.first().ok_or_else(|| damaged("entry without a kind"))?;
    let body = payload.slice(1..);
    match kind {
        BLANK => Ok(EntryPayload::Blank),
        COMMAND => {
            let command: Command = decode_all_of("command", body)?;
            if command.op.is_none() {
                return Err(later_version("a command that does nothing"));
            }
            Ok(EntryPayload::Normal(Proposal::from_parts(command, payload)))
        }
        MEMBERSHIP => {
            let record: MembershipRecord = decode_all_of("membership", body)?;
            Ok(EntryPayload::Membership(record.into_membership()?))
        }
        kind => Err(later_version(&format!("an entry of kind {kind}"))),
    }
}

/// Decodes a message of which nothing may be skipped, at whatever depth.
fn decode_all_of<M: Message + Default>(what: &str, body: Bytes) -> io::Result<M> {
    let len = body.len();
    let message = M::decode(body).map_err(|e| damaged(&format!("{what}: {e}")))?;
    // Whoever wrote it, wrote it with the same library: what was understood whole has the length
    // that it came with.
    if message.encoded_len() == len {
        Ok(message)
    } else {
        Err(later_version(&format!("a {what} with more in it than is known here")))
    }
}

/// The error that ends a member which is older than what it was given to read.
fn later_version(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("the log has {what}, {LATER_VERSION}"))
}

/// What an operator reads, whatever the error was wrapped in on its way.
pub(crate) const LATER_VERSION: &str = "written by a later version of berth; upgrade this member";

/// Whether it was refused because it is of a later version, not because it is damaged.
pub(crate) fn is_of_later_version(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// The membership and the log id that it came with, as the store keeps it for us.
pub(crate) fn encode_stored_membership(stored: &StoredMembership) -> Bytes {
    encode_membership_state(stored, &BTreeSet::new())
}

/// The same with the ids of all who ever were members and are so no more.
pub(crate) fn encode_membership_state(stored: &StoredMembership, removed: &BTreeSet<u64>) -> Bytes {
    let record = StoredMembershipRecord {
        log_id: stored.log_id().as_ref().map(encode_log_id).unwrap_or_default(),
        membership: Some(MembershipRecord::from(stored.membership())),
        removed: removed.iter().copied().collect(),
    };
    record.encode_to_vec().into()
}

/// Who was a member and is so no more. Their ids are never given again.
pub(crate) fn decode_removed(bytes: Option<&[u8]>) -> io::Result<BTreeSet<u64>> {
    let Some(bytes) = bytes else { return Ok(BTreeSet::new()) };
    let record = StoredMembershipRecord::decode(bytes)
        .map_err(|e| damaged(&format!("stored membership: {e}")))?;
    Ok(record.removed.into_iter().collect())
}

/// `None`, and nothing stored, is the membership of a node that has not met its cluster.
pub(crate) fn decode_stored_membership(bytes: Option<&[u8]>) -> io::Result<StoredMembership> {
    let Some(bytes) = bytes else { return Ok(StoredMembership::default()) };
    let record = StoredMembershipRecord::decode(bytes)
        .map_err(|e| damaged(&format!("stored membership: {e}")))?;
    let log_id = match record.log_id.as_ref() {
        [] => None,
        bytes => Some(decode_log_id(bytes)?),
    };
    let membership = match record.membership {
        Some(record) if !record.configs.is_empty() => record.into_membership()?,
        _ => Membership::default(),
    };
    Ok(StoredMembership::new(log_id, membership))
}

#[derive(Clone, PartialEq, Message)]
struct StoredMembershipRecord {
    #[prost(bytes = "bytes", tag = "1")]
    log_id: Bytes,
    #[prost(message, optional, tag = "2")]
    membership: Option<MembershipRecord>,
    #[prost(uint64, repeated, tag = "3")]
    removed: Vec<u64>,
}

/// One voter set, or two while a change is under way.
#[derive(Clone, PartialEq, Message)]
struct MembershipRecord {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<VotersRecord>,
    #[prost(message, repeated, tag = "2")]
    nodes: Vec<NodeRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct VotersRecord {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeRecord {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    peer_urls: Vec<String>,
    #[prost(bool, tag = "4")]
    wants_vote: bool,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> MembershipRecord {
        let voters = |ids: &BTreeSet<u64>| VotersRecord { ids: ids.iter().copied().collect() };
        let node = |(id, peer): (&u64, &Peer)| NodeRecord {
            id: *id,
            name: peer.name.clone(),
            peer_urls: peer.peer_urls.clone(),
            wants_vote: peer.wants_vote,
        };
        MembershipRecord {
            configs: membership.get_joint_config().iter().map(voters).collect(),
            nodes: membership.nodes().map(node).collect(),
        }
    }
}

impl MembershipRecord {
    fn into_membership(self) -> io::Result<Membership> {
        let configs = self.configs.into_iter().map(|voters| voters.ids.into_iter().collect());
        let nodes: BTreeMap<u64, Peer> =
            self.nodes.into_iter().map(NodeRecord::into_peer).collect();
        Membership::new(configs.collect(), nodes).map_err(|e| damaged(&format!("membership: {e}")))
    }
}

impl NodeRecord {
    fn into_peer(self) -> (u64, Peer) {
        let NodeRecord { id, name, peer_urls, wants_vote } = self;
        (id, Peer { name, peer_urls, wants_vote })
    }
}

fn number(bytes: &[u8]) -> io::Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("number"))
}

/// Nobody gets as far as the last term or index, and whoever has one counts on to the next.
fn not_last(number: u64) -> io::Result<u64> {
    if number == u64::MAX { Err(damaged("number")) } else { Ok(number) }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::berthpb::command::Op;

    fn joint() -> Membership {
        let peer = |n: u64| Peer {
            name: format!("m{n}"),
            peer_urls: vec![format!("http://{n}")],
            wants_vote: n == 4,
        };
        let nodes: BTreeMap<u64, Peer> = (1..=4).map(|n| (n, peer(n))).collect();
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])], nodes).unwrap()
    }

    #[test]
    fn everything_comes_back_as_it_went_in() {
        // Proves that what is on disk means what was written: ids, votes, all kinds of entries.
        let log_id = LogId { leader_id: CommittedLeaderId::new(7), index: u64::MAX - 1 };
        assert_eq!(decode_log_id(&encode_log_id(&log_id)).unwrap(), log_id);

        for committed in [false, true] {
            let vote = Vote { leader_id: LeaderId::new(3, u64::MAX), committed };
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }

        let stored = StoredMembership::new(Some(log_id), joint());
        let bytes = encode_stored_membership(&stored);
        assert_eq!(decode_stored_membership(Some(&bytes)).unwrap(), stored);

        let payload = decode_payload(encode_payload(&EntryPayload::Membership(joint()))).unwrap();
        assert_eq!(payload.type_str(), "Membership");
        let blank = decode_payload(encode_payload(&EntryPayload::Blank)).unwrap();
        assert_eq!(blank.type_str(), "Blank");
    }

    #[test]
    fn the_bytes_on_disk_do_not_change() {
        // Proves the format against bytes written down once: logs of older versions stay readable.
        let hex = |bytes: Bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let log_id = LogId { leader_id: CommittedLeaderId::new(2), index: 0x0103 };
        assert_eq!(hex(encode_log_id(&log_id)), "00000000000000020000000000000103");
        let vote = Vote { leader_id: LeaderId::new(2, 0xab), committed: true };
        assert_eq!(hex(encode_vote(&vote)), "000000000000000200000000000000ab01");
        assert_eq!(hex(encode_payload(&EntryPayload::Blank)), "00");
        let put = api::etcdserverpb::PutRequest {
            key: "k".into(),
            value: "v".into(),
            ..Default::default()
        };
        let op = Some(Op::Put(put));
        assert_eq!(
            hex(encode_command(&Command { principal: None, origin: None, op })),
            "0152060a016b120176"
        );
        let peer = Peer { name: "m".into(), peer_urls: vec!["u".into()], wants_vote: false };
        let one = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, peer)])).unwrap();
        let payload = EntryPayload::Membership(one.clone());
        assert_eq!(hex(encode_payload(&payload)), "020a030a01011208080112016d1a0175");
        let stored = StoredMembership::new(Some(log_id), one);
        assert_eq!(
            hex(encode_stored_membership(&stored)),
            "0a1000000000000000020000000000000103120f0a030a01011208080112016d1a0175"
        );
    }

    #[test]
    fn whatever_is_let_in_can_be_read_back() {
        // Proves that no transaction is let in which is too deep for the log: what decodes it allows
        // fewer messages within each other than a client can send.
        use api::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request};
        let engine = std::sync::Arc::new(store::engine::MemEngine::new());
        let reader = store::Store::open(engine, store::Options::default()).unwrap().reader();
        let put = PutRequest { key: "k".into(), ..Default::default() };
        let within = |request| RequestOp { request: Some(request) };
        let mut txn =
            TxnRequest { success: vec![within(Request::RequestPut(put))], ..Default::default() };
        let mut deepest = 0;
        for depth in 1..=100 {
            let command = Command { op: Some(Op::Txn(txn.clone())), ..Command::default() };
            if reader.check(&command).is_ok() {
                deepest = depth;
                let payload = EntryPayload::Normal(Proposal::new(command));
                let read = decode_payload(encode_payload(&payload));
                assert!(read.is_ok(), "{depth} transactions within each other");
            }
            txn = TxnRequest {
                success: vec![within(Request::RequestTxn(txn))],
                ..Default::default()
            };
        }
        assert_eq!(deepest, 32);
    }

    #[test]
    fn a_command_is_encoded_once() {
        // Proves that an entry goes to disk with the very bytes made when it was proposed.
        let proposal = Proposal::new(Command::default());
        let on_disk = encode_payload(&EntryPayload::Normal(proposal.clone()));
        assert_eq!(on_disk.as_ptr(), proposal.payload().as_ptr());
    }

    #[test]
    fn damage_is_an_error_and_not_a_guess() {
        // Proves that bytes no version of berth writes are refused.
        assert!(decode_log_id(&[0; 15]).is_err());
        assert!(decode_log_id(&[0; 17]).is_err());
        assert!(decode_log_id(&[[0; 8], [0xff; 8]].concat()).is_err());
        assert!(decode_log_id(&[[0xff; 8], [0; 8]].concat()).is_err());
        assert!(decode_vote(&[2; 17]).is_err());
        assert!(decode_vote(&[[0xff; 16].as_slice(), &[1]].concat()).is_err());
        assert!(decode_vote(&[]).is_err());
        assert!(decode_payload(Bytes::new()).is_err());
        let damaged = decode_payload(Bytes::from_static(&[COMMAND, 0xff])).unwrap_err();
        assert!(!is_of_later_version(&damaged), "{damaged}");
    }

    #[test]
    fn nothing_of_a_later_version_is_skipped() {
        // Proves that an unknown kind, an unknown or missing op, and an unknown field at any depth
        // each refuse the entry with words for the operator.
        let put = Some(Op::Put(api::etcdserverpb::PutRequest::default()));
        let put = encode_command(&Command { op: put, ..Command::default() });
        decode_payload(put.clone()).unwrap();
        // Field 2000 of the command; field 15 of the put, and of the membership.
        let beside = [&put[..], &[0x80, 0x7d, 0x01]].concat();
        let within = b"\x01\x52\x08\x0a\x01k\x12\x01v\x78\x01".to_vec();
        let other_op = [&[COMMAND][..], &[0x82, 0x7d, 0x00]].concat();
        let membership = encode_payload(&EntryPayload::Membership(joint()));
        let membership = [&membership[..], &[0x78, 0x01]].concat();
        for bytes in [vec![9], vec![COMMAND], beside, within, other_op, membership] {
            let error = decode_payload(bytes.clone().into()).expect_err(&format!("{bytes:?}"));
            assert!(is_of_later_version(&error), "{bytes:?}: {error}");
            assert!(error.to_string().contains(LATER_VERSION), "{error}");
        }
    }
}
