//! The entry for fuzzing: what another member says, from bytes that nobody wrote.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::berthpb::peer_request::Question;
use api::berthpb::peer_response::Answer;
use api::berthpb::{self as pb, Envelope, PeerRequest, PeerResponse, SnapshotPiece};
use bytes::Bytes;
use openraft_rt_tokio::TokioRuntime as R;
use prost::Message;

use super::snapshot::Receiving;
use super::{Identity, Roster, wire};
use crate::codec;
use crate::open::Metadata;
use crate::snapshot::{SnapshotDir, SnapshotFile, SnapshotHeader};
use crate::types::LogId;
use crate::vfs::CrashFs;

/// The order is the corpus's: add at the end.
const DECODERS: &[fn(&Bytes)] = &[
    append_request,
    append_response,
    request,
    response,
    snapshot_pieces,
    snapshot_with_header,
    payload,
    vote,
    log_id,
    stored_membership,
    metadata,
];

/// Reads arbitrary bytes as a message of another member, or as a part of one, which the first byte
/// chooses; and as the log's metadata.
///
/// Reading must answer or refuse, never panic, and take memory in proportion to the bytes; what it
/// takes must come out again when it is written.
pub fn decode_arbitrary(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    if let Some(decode) = DECODERS.get(usize::from(choice)) {
        decode(&Bytes::copy_from_slice(rest));
    }
}

/// `again` reads bytes and writes what it has read. What was written once must be written the same
/// from then on.
fn comes_out_again(bytes: &Bytes, again: impl Fn(Bytes) -> io::Result<Bytes>) {
    let Ok(written) = again(bytes.clone()) else { return };
    let twice = again(written.clone()).expect("what was written can be read");
    assert_eq!(twice, written, "what was read and written is written otherwise the second time");
}

fn append_request(data: &Bytes) {
    comes_out_again(data, |data| {
        let request = pb::AppendRequest::decode(data)?;
        let envelope = request.envelope;
        envelope.iter().for_each(check);
        let request = wire::decode_append_request::<R>(request)?;
        request.entries.iter().for_each(|entry| position(&entry.log_id));
        Ok(wire::append_request(&request, envelope).encode_to_vec().into())
    });
}

fn append_response(data: &Bytes) {
    comes_out_again(data, |data| {
        let response = pb::AppendResponse::decode(data)?;
        let response = match wire::decode_append_response::<R>(response)? {
            Ok(result) => wire::append_response(&result),
            Err(refusal) => {
                let outcome = pb::append_response::Outcome::Refusal(refusal);
                pb::AppendResponse { outcome: Some(outcome) }
            }
        };
        Ok(response.encode_to_vec().into())
    });
}

fn request(data: &Bytes) {
    comes_out_again(data, |data| {
        let PeerRequest { envelope, question } = PeerRequest::decode(data)?;
        envelope.iter().for_each(check);
        let question = match question {
            Some(Question::Vote(question)) => {
                let request = wire::decode_vote_question::<R>(&question)?;
                Some(Question::Vote(wire::vote_question(&request, question.pre_vote)))
            }
            Some(Question::Transfer(question)) => {
                let request = wire::decode_transfer_question::<R>(&question)?;
                Some(Question::Transfer(wire::transfer_question(&request)))
            }
            other => other,
        };
        Ok(PeerRequest { envelope, question }.encode_to_vec().into())
    });
}

fn response(data: &Bytes) {
    comes_out_again(data, |data| {
        let answer = match PeerResponse::decode(data)?.answer {
            Some(Answer::Vote(answer)) => {
                Some(Answer::Vote(wire::vote_answer(&wire::decode_vote_answer::<R>(&answer)?)))
            }
            Some(Answer::Transfer(answer)) => {
                let response = wire::decode_transfer_answer::<R>(answer)?;
                Some(Answer::Transfer(wire::transfer_answer(&response)))
            }
            Some(Answer::Installed(installed)) => {
                let vote = codec::encode_vote(&codec::decode_vote(&installed.vote)?);
                Some(Answer::Installed(pb::InstalledAnswer { vote }))
            }
            other => other,
        };
        Ok(PeerResponse { answer }.encode_to_vec().into())
    });
}

/// Messages, each with two bytes of length before it; what is left is the last.
fn snapshot_pieces(data: &Bytes) {
    let mut data = data.clone();
    let mut pieces = Vec::new();
    while data.len() >= 2 {
        let len = usize::from(u16::from_be_bytes([data[0], data[1]])).min(data.len() - 2);
        let rest = data.split_off(2 + len);
        let Ok(piece) = SnapshotPiece::decode(data.split_off(2)) else { return };
        pieces.push(piece);
        data = rest;
    }
    let Some(start) = pieces.first_mut().and_then(|first| first.start.take()) else { return };
    start.envelope.iter().for_each(check);
    if codec::decode_vote(&start.vote).is_ok() {
        let data: Vec<Bytes> = pieces.into_iter().map(|piece| piece.data).collect();
        receive(&data, start.size_bytes);
    }
}

/// The bytes of a header, with two bytes of length before it, to which magic and checksum are put;
/// the state is what follows.
fn snapshot_with_header(data: &Bytes) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (record, state) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
    let header = SnapshotHeader::framed(record);
    let file = [Bytes::from(header.clone()), Bytes::copy_from_slice(state)];
    receive(&file, (header.len() + state.len()) as u64);
    let again = |header: Bytes| {
        let (header, _) = SnapshotHeader::read(&mut &header[..])?;
        Ok(header.encode().into())
    };
    comes_out_again(&header.into(), again);
}

fn receive(pieces: &[Bytes], size_bytes: u64) {
    let fs = CrashFs::new();
    let dir = || SnapshotDir::open(Arc::new(fs.clone()), PathBuf::from("/snap"), None);
    let snapshots = dir().expect("an empty directory can be opened");
    let Ok(received) = receive_into(&snapshots, pieces, size_bytes) else { return };
    let adopted = snapshots.adopt(&received).expect("what was checked can be adopted");
    assert_eq!(adopted.meta(), received.meta());
    drop(received);
    let found = dir().expect("what was adopted can be opened").newest();
    assert_eq!(found.map(|file| file.meta().clone()).as_ref(), Some(adopted.meta()));
}

fn receive_into(
    snapshots: &SnapshotDir,
    pieces: &[Bytes],
    size_bytes: u64,
) -> io::Result<SnapshotFile> {
    let begun = Receiving::begin(snapshots, size_bytes);
    pieces.iter().try_fold(begun?, Receiving::take)?.finish()
}

fn payload(data: &Bytes) {
    comes_out_again(data, |data| Ok(codec::encode_payload(&codec::decode_payload(data)?)));
}

fn vote(data: &Bytes) {
    if let Ok(vote) = codec::decode_vote(data) {
        assert_eq!(codec::encode_vote(&vote), *data);
        assert!(vote.leader_id.term.checked_add(1).is_some(), "no term comes after it");
    }
}

fn log_id(data: &Bytes) {
    if let Ok(log_id) = codec::decode_log_id(data) {
        assert_eq!(codec::encode_log_id(&log_id), *data);
        position(&log_id);
    }
}

/// There is one after each.
fn position(log_id: &LogId) {
    let position = codec::position(log_id);
    assert_eq!(codec::log_id_at(&position).ok().flatten().as_ref(), Some(log_id));
}

fn stored_membership(data: &Bytes) {
    comes_out_again(data, |data| {
        let stored = codec::decode_stored_membership(Some(&data))?;
        let removed = codec::decode_removed(Some(&data))?;
        Ok(codec::encode_membership_state(&stored, &removed))
    });
}

fn metadata(data: &Bytes) {
    let decode = |data: &[u8]| Metadata::decode(data, Path::new("/wal")).ok();
    if let Some(found) = decode(data) {
        assert_eq!(decode(&found.encode()), Some(found));
    }
}

/// Whoever speaks is judged, whatever is in the envelope.
fn check(envelope: &Envelope) {
    let identity = Identity { cluster_id: 1, member_id: 1, incarnation: 1 };
    let nobody = Roster::default();
    let judged = identity.check(&nobody, envelope);
    assert!(judged.is_err() || envelope.cluster_id == identity.cluster_id);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corpus of the fuzzer passes wherever the tests run.
    #[test]
    fn fuzz_corpus() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/peer_decode");
        let mut chosen = std::collections::BTreeSet::new();
        for file in std::fs::read_dir(corpus).unwrap() {
            let data = std::fs::read(file.unwrap().path()).unwrap();
            decode_arbitrary(&data);
            chosen.extend(data.first().copied());
        }
        assert!(chosen.len() >= DECODERS.len(), "the corpus has each message at least once");
    }
}
