//! A cluster of one from what is left of a larger one.

use std::collections::{BTreeMap, BTreeSet};

use api::etcdserverpb::Member;
use futures::channel::oneshot;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use crate::codec;
use crate::error::Error;
use crate::open::Opened;
use crate::types::{CommittedLeaderId, LeaderId, LogId, Membership, Payload, Peer, Vote};
use crate::wal::{self, WalEntry};

/// Writes into the log, as a leader of a later term would, that this member is the only one. What
/// its log holds and no majority ever confirmed becomes part of the new cluster; the others, who
/// are now removed for good, must never run again. A member that was given a snapshot, and stopped
/// before its log was cut to it, goes on behind the snapshot. Of a member without any history
/// nothing is changed.
///
/// The log's writer must be running.
pub(super) async fn make_only_member(opened: &mut Opened) -> Result<(), Error> {
    let logged = opened.wal.last().map_err(|error| Error::Fatal(error.to_string()))?;
    let logged = logged.map(|(_, last)| codec::decode_log_id(&last)).transpose();
    let logged = logged.map_err(|error| Error::Fatal(error.to_string()))?;
    let applied = codec::log_id_at(&opened.store.reader().position());
    let applied = applied.map_err(|error| Error::Fatal(error.to_string()))?;
    let Some(last) = logged.max(applied) else { return Ok(()) };
    let voted = opened.vote.map_or(0, |vote| vote.leader_id.term);
    let term = last.leader_id.term.max(voted) + 1;
    let id = opened.identity.member_id;
    let vote = Vote { leader_id: LeaderId::new(term, id), committed: true };
    let log_id = LogId { leader_id: CommittedLeaderId::new(term), index: last.index + 1 };
    let payload: Payload = EntryPayload::Membership(only(id, own(opened)?)?);
    let entry = WalEntry {
        index: log_id.index,
        log_id: codec::encode_log_id(&log_id),
        payload: codec::encode_payload(&payload),
    };
    let mut told = Vec::new();
    let mut done = || {
        let (done, outcome) = telling();
        told.push(outcome);
        done
    };
    opened.wal.save_vote(codec::encode_vote(&vote), done());
    if logged != Some(last) {
        // What is in the log is older than the state, all of it.
        if logged.is_some_and(|logged| logged.index > last.index) {
            opened.wal.truncate_after(Some(last.index), done());
        }
        opened.wal.purge(last.index, codec::encode_log_id(&last), done());
    }
    opened.wal.append(vec![entry], done());
    for told in told {
        match told.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Error::Fatal(error.to_string())),
            Err(_) => return Err(Error::Fatal("the log's writer ended early".to_owned())),
        }
    }
    opened.vote = Some(vote);
    tracing::warn!(member_id = format!("{id:x}"), "this member is now the only one of its cluster");
    Ok(())
}

/// What the cluster knew of this member.
fn own(opened: &Opened) -> Result<Peer, Error> {
    let reader = opened.store.reader();
    let stored = codec::decode_stored_membership(reader.membership().as_deref());
    let stored = stored.map_err(|error| Error::Fatal(error.to_string()))?;
    let id = opened.identity.member_id;
    let told = reader.members().into_iter().find(|member: &Member| member.id == id);
    let mut peer = stored.membership().get_node(&id).cloned().unwrap_or_default();
    peer.wants_vote = false;
    if let Some(told) = told {
        peer.name = told.name;
    }
    Ok(peer)
}

fn only(id: u64, peer: Peer) -> Result<Membership, Error> {
    let voters = vec![BTreeSet::from([id])];
    Membership::new(voters, BTreeMap::from([(id, peer)]))
        .map_err(|error| Error::Fatal(error.to_string()))
}

/// What the log's writer tells, and where that is heard.
fn telling() -> (wal::Done, oneshot::Receiver<Result<(), wal::Error>>) {
    let (tx, told) = oneshot::channel();
    // Whoever waits is still there.
    (Box::new(move |result| drop(tx.send(result))), told)
}
