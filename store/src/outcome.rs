//! What a command did, before the values that its answer shows are read.
//!
//! Answers are completed when the state is no longer locked. Nothing they need can vanish before:
//! only a later command could compact it.

use api::etcdserverpb as pb;
use api::etcdserverpb::response_op::Response as Op;
use api::mvccpb::KeyValue;
use bytes::Bytes;

use crate::select::Found;
use crate::shared::Shared;
use crate::view::range_response;
use crate::work::Calls;
use crate::write::key_value;
use crate::{Entry, Error, Response, response};

pub(crate) enum Outcome {
    Range {
        found: Found,
        keys_only: bool,
        revision: i64,
    },
    Put {
        revision: i64,
        prev: Option<(Bytes, Entry)>,
    },
    DeleteRange {
        revision: i64,
        deleted: usize,
        prev: Vec<(Bytes, Entry)>,
    },
    Txn(TxnOutcome),
    /// Complete as it is.
    Done(Response),
}

pub(crate) struct TxnOutcome {
    pub(crate) succeeded: bool,
    pub(crate) outcomes: Vec<Outcome>,
    /// 0 for a nested transaction, as etcd answers.
    pub(crate) revision: i64,
}

impl Outcome {
    /// The answer to a command.
    pub(crate) fn response(self, shared: &Shared) -> Result<Response, Error> {
        Ok(match self {
            Outcome::Put { revision, prev } => {
                Response::Put(put_response(shared, revision, &prev)?)
            }
            Outcome::DeleteRange { revision, deleted, prev } => {
                Response::DeleteRange(delete_response(shared, revision, deleted, &prev)?)
            }
            Outcome::Txn(txn) => Response::Txn(txn.response(shared)?),
            Outcome::Done(response) => response,
            Outcome::Range { .. } => unreachable!("a range is no command"),
        })
    }

    /// The answer to an operation of a transaction.
    fn op(self, shared: &Shared) -> Result<Op, Error> {
        Ok(match self {
            Outcome::Range { found, keys_only, revision } => {
                Op::ResponseRange(range_response(shared, found, keys_only, revision)?)
            }
            Outcome::Put { revision, prev } => {
                Op::ResponsePut(put_response(shared, revision, &prev)?)
            }
            Outcome::DeleteRange { revision, deleted, prev } => {
                Op::ResponseDeleteRange(delete_response(shared, revision, deleted, &prev)?)
            }
            Outcome::Txn(txn) => Op::ResponseTxn(txn.response(shared)?),
            Outcome::Done(_) => unreachable!("no other command is part of a transaction"),
        })
    }
}

impl TxnOutcome {
    /// The work of one that read only.
    pub(crate) fn reads(&self) -> Calls {
        let ranges = self.outcomes.iter().map(|outcome| match outcome {
            Outcome::Txn(nested) => nested.reads().ranges,
            _ => 1,
        });
        Calls { ranges: ranges.sum(), ..Calls::default() }
    }

    pub(crate) fn response(self, shared: &Shared) -> Result<pb::TxnResponse, Error> {
        let responses = self
            .outcomes
            .into_iter()
            .map(|outcome| Ok(pb::ResponseOp { response: Some(outcome.op(shared)?) }));
        Ok(pb::TxnResponse {
            header: response::header(self.revision),
            succeeded: self.succeeded,
            responses: responses.collect::<Result<_, Error>>()?,
        })
    }
}

fn put_response(
    shared: &Shared,
    revision: i64,
    prev: &Option<(Bytes, Entry)>,
) -> Result<pb::PutResponse, Error> {
    let prev_kv = key_values(shared, prev.as_slice())?.pop();
    Ok(pb::PutResponse { header: response::header(revision), prev_kv })
}

fn delete_response(
    shared: &Shared,
    revision: i64,
    deleted: usize,
    prev: &[(Bytes, Entry)],
) -> Result<pb::DeleteRangeResponse, Error> {
    Ok(pb::DeleteRangeResponse {
        header: response::header(revision),
        deleted: response::count(deleted),
        prev_kvs: key_values(shared, prev)?,
    })
}

fn key_values(shared: &Shared, versions: &[(Bytes, Entry)]) -> Result<Vec<KeyValue>, Error> {
    let values = shared.pinned_values(versions.iter().map(|(_, entry)| entry))?;
    let with_values = versions.iter().zip(values);
    Ok(with_values.map(|((key, entry), value)| key_value(key.clone(), entry, value)).collect())
}
