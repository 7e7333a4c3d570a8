//! Openraft's messages as protobuf, and back.

use std::io;

use api::berthpb as pb;
use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::codec;
use crate::types::{Entry, LogId, Types};

pub(super) fn append_request<R: AsyncRuntime>(
    request: &AppendEntriesRequest<Types<R>>,
    envelope: Option<pb::Envelope>,
) -> pb::AppendRequest {
    pb::AppendRequest {
        envelope,
        vote: codec::encode_vote(&request.vote),
        prev_log_id: encode_position(request.prev_log_id.as_ref()),
        entries: request.entries.iter().map(entry).collect(),
        leader_commit: encode_position(request.leader_commit.as_ref()),
    }
}

pub(super) fn decode_append_request<R: AsyncRuntime>(
    request: pb::AppendRequest,
) -> io::Result<AppendEntriesRequest<Types<R>>> {
    Ok(AppendEntriesRequest {
        vote: codec::decode_vote(&request.vote)?,
        prev_log_id: decode_position(&request.prev_log_id)?,
        entries: request.entries.into_iter().map(decode_entry).collect::<io::Result<_>>()?,
        leader_commit: decode_position(&request.leader_commit)?,
    })
}

fn entry(entry: &Entry) -> pb::LogEntry {
    pb::LogEntry {
        log_id: codec::encode_log_id(&entry.log_id),
        payload: codec::encode_payload(&entry.payload),
    }
}

fn decode_entry(entry: pb::LogEntry) -> io::Result<Entry> {
    let log_id = codec::decode_log_id(&entry.log_id)?;
    Ok(Entry { log_id, payload: codec::decode_payload(entry.payload)? })
}

pub(super) fn append_response<R: AsyncRuntime>(
    result: &StreamAppendResult<Types<R>>,
) -> pb::AppendResponse {
    use pb::append_response::Outcome;
    let outcome = match result {
        Ok(matching) => Outcome::Matching(encode_position(matching.as_ref())),
        Err(StreamAppendError::Conflict(log_id)) => Outcome::Conflict(codec::encode_log_id(log_id)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(codec::encode_vote(vote)),
    };
    pb::AppendResponse { outcome: Some(outcome) }
}

/// What a follower answered to entries, or its refusal to look at them.
pub(super) fn decode_append_response<R: AsyncRuntime>(
    response: pb::AppendResponse,
) -> io::Result<Result<StreamAppendResult<Types<R>>, pb::Refusal>> {
    use pb::append_response::Outcome;
    Ok(Ok(match response.outcome {
        Some(Outcome::Matching(log_id)) => Ok(decode_position(&log_id)?),
        Some(Outcome::Conflict(log_id)) => {
            Err(StreamAppendError::Conflict(codec::decode_log_id(&log_id)?))
        }
        Some(Outcome::HigherVote(vote)) => {
            Err(StreamAppendError::HigherVote(codec::decode_vote(&vote)?))
        }
        Some(Outcome::Refusal(refusal)) => return Ok(Err(refusal)),
        None => return Err(not_understood("answer to entries")),
    }))
}

pub(super) fn vote_question<R: AsyncRuntime>(
    request: &VoteRequest<Types<R>>,
    pre_vote: bool,
) -> pb::VoteQuestion {
    pb::VoteQuestion {
        vote: codec::encode_vote(&request.vote),
        last_log_id: encode_position(request.last_log_id.as_ref()),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(super) fn decode_vote_question<R: AsyncRuntime>(
    question: &pb::VoteQuestion,
) -> io::Result<VoteRequest<Types<R>>> {
    Ok(VoteRequest {
        vote: codec::decode_vote(&question.vote)?,
        last_log_id: decode_position(&question.last_log_id)?,
        leadership_transfer: question.leadership_transfer,
    })
}

pub(super) fn vote_answer<R: AsyncRuntime>(response: &VoteResponse<Types<R>>) -> pb::VoteAnswer {
    pb::VoteAnswer {
        vote: codec::encode_vote(&response.vote),
        granted: response.vote_granted,
        last_log_id: encode_position(response.last_log_id.as_ref()),
    }
}

pub(super) fn decode_vote_answer<R: AsyncRuntime>(
    answer: &pb::VoteAnswer,
) -> io::Result<VoteResponse<Types<R>>> {
    Ok(VoteResponse {
        vote: codec::decode_vote(&answer.vote)?,
        vote_granted: answer.granted,
        last_log_id: decode_position(&answer.last_log_id)?,
    })
}

pub(super) fn transfer_question<R: AsyncRuntime>(
    request: &TransferLeaderRequest<Types<R>>,
) -> pb::TransferQuestion {
    pb::TransferQuestion {
        from_leader: codec::encode_vote(request.from_leader()),
        to: *request.to_node_id(),
        last_log_id: encode_position(request.last_log_id()),
    }
}

pub(super) fn decode_transfer_question<R: AsyncRuntime>(
    question: &pb::TransferQuestion,
) -> io::Result<TransferLeaderRequest<Types<R>>> {
    Ok(TransferLeaderRequest::new(
        codec::decode_vote(&question.from_leader)?,
        question.to,
        decode_position(&question.last_log_id)?,
    ))
}

pub(super) fn transfer_answer<R: AsyncRuntime>(
    response: &TransferLeaderResponse<Types<R>>,
) -> pb::TransferAnswer {
    use pb::transfer_answer::{LogBehind, Refused, VoteChanged};
    let refused = match response {
        Ok(()) => None,
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            let (expected, actual) = (codec::encode_vote(expected), codec::encode_vote(actual));
            Some(Refused::VoteChanged(VoteChanged { expected, actual }))
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            let expected = encode_position(expected.as_ref());
            let actual = encode_position(actual.as_ref());
            Some(Refused::LogBehind(LogBehind { expected, actual }))
        }
    };
    pb::TransferAnswer { refused }
}

pub(super) fn decode_transfer_answer<R: AsyncRuntime>(
    answer: pb::TransferAnswer,
) -> io::Result<TransferLeaderResponse<Types<R>>> {
    use pb::transfer_answer::Refused;
    Ok(match answer.refused {
        None => Ok(()),
        Some(Refused::VoteChanged(it)) => Err(TransferLeaderError::VoteChanged {
            expected: codec::decode_vote(&it.expected)?,
            actual: codec::decode_vote(&it.actual)?,
        }),
        Some(Refused::LogBehind(it)) => Err(TransferLeaderError::LogNotFlushed {
            expected: decode_position(&it.expected)?,
            actual: decode_position(&it.actual)?,
        }),
    })
}

/// Empty: before the first entry.
pub(super) fn encode_position(log_id: Option<&LogId>) -> Bytes {
    log_id.map(codec::encode_log_id).unwrap_or_default()
}

pub(super) fn decode_position(bytes: &[u8]) -> io::Result<Option<LogId>> {
    match bytes {
        [] => Ok(None),
        bytes => codec::decode_log_id(bytes).map(Some),
    }
}

pub(super) fn not_understood(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} of no kind that is known"))
}
