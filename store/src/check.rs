//! What etcd checks before it proposes anything: the request alone decides.

use std::collections::{BTreeMap, BTreeSet};

use api::berthpb::Command;
use api::berthpb::command::Op;
use api::etcdserverpb::range_request::{SortOrder, SortTarget};
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

use crate::Error;

pub(crate) fn check(command: &Command, max_txn_ops: u32) -> Result<(), Error> {
    match &command.op {
        Some(Op::Put(request)) => check_put(request),
        Some(Op::DeleteRange(request)) => check_delete(request),
        Some(Op::Txn(request)) => check_txn(request, max_txn_ops),
        _ => Ok(()),
    }
}

pub(crate) fn check_range(request: &RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let order = SortOrder::try_from(request.sort_order);
    let target = SortTarget::try_from(request.sort_target);
    if order.is_err() || target.is_err() {
        return Err(Error::InvalidSortOption);
    }
    Ok(())
}

fn check_put(request: &PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

fn check_delete(request: &DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

pub(crate) fn check_txn(request: &TxnRequest, max_txn_ops: u32) -> Result<(), Error> {
    check_ops(request, max_txn_ops as usize, NESTED_MAX)?;
    Writes::of(&request.success)?;
    Writes::of(&request.failure)?;
    Ok(())
}

/// Transactions within each other. What decodes protobuf gives up below 100 messages within each
/// other, of which each of these takes two: a deeper one could be written to the log, where a few
/// more are around it, and never be read again.
const NESTED_MAX: usize = 32;

/// A nested transaction gets what the outer one left of `ops_max`, and of `nested_max`.
fn check_ops(request: &TxnRequest, ops_max: usize, nested_max: usize) -> Result<(), Error> {
    let nested_max = nested_max.checked_sub(1).ok_or(Error::TooManyOps)?;
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = ops_max.checked_sub(ops).ok_or(Error::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    let mut both = request.success.iter().chain(&request.failure);
    both.try_for_each(|op| match &op.request {
        Some(Request::RequestRange(range)) => check_range(range),
        Some(Request::RequestPut(put)) => check_put(put),
        Some(Request::RequestDeleteRange(delete)) => check_delete(delete),
        Some(Request::RequestTxn(nested)) => check_ops(nested, left, nested_max),
        None => Err(Error::KeyNotFound),
    })
}

/// What a list of operations can write, whichever branches its nested transactions take.
///
/// It finds what etcd's `checkIntervals` finds: a key put twice, or a put that a delete overlaps,
/// where both can happen. Like etcd, it does not see a put in one nested transaction and a delete
/// in a later one, and takes the `\0` of "everything from the key on" for an ordinary end.
#[derive(Default)]
struct Writes<'r> {
    puts: BTreeSet<&'r [u8]>,
    deletes: Spans<'r>,
}

impl<'r> Writes<'r> {
    fn of(ops: &'r [RequestOp]) -> Result<Writes<'r>, Error> {
        let mut writes = Writes::default();
        for op in ops {
            if let Some(Request::RequestDeleteRange(delete)) = &op.request {
                writes.deletes.insert(&delete.key, &delete.range_end);
            }
        }
        for op in ops {
            if let Some(Request::RequestTxn(nested)) = &op.request {
                writes.take_nested(nested)?;
            }
        }
        for op in ops {
            if let Some(Request::RequestPut(put)) = &op.request {
                writes.take_put(&put.key)?;
            }
        }
        Ok(writes)
    }

    fn take_nested(&mut self, nested: &'r TxnRequest) -> Result<(), Error> {
        let (then, otherwise) = (Writes::of(&nested.success)?, Writes::of(&nested.failure)?);
        for key in &then.puts {
            self.take_put(key)?;
        }
        for key in otherwise.puts {
            // Only one of the two branches is taken.
            if !then.puts.contains(key) {
                self.take_put(key)?;
            }
        }
        self.deletes.append(then.deletes);
        self.deletes.append(otherwise.deletes);
        Ok(())
    }

    fn take_put(&mut self, key: &'r [u8]) -> Result<(), Error> {
        if self.deletes.contain(key) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// A set of keys: start to end, disjoint. A single key ends right behind itself.
#[derive(Default)]
struct Spans<'r>(BTreeMap<&'r [u8], End<'r>>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End<'r> {
    Before(&'r [u8]),
    /// Includes the key itself: comes after `Before` of the same key.
    With(&'r [u8]),
}

impl<'r> End<'r> {
    fn is_behind(self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < end,
            End::With(end) => key <= end,
        }
    }

    fn max(self, other: End<'r>) -> End<'r> {
        let covers = match other {
            End::Before(end) => match self {
                End::Before(mine) => end <= mine,
                // Whatever is below `mine\0` is at most `mine`.
                End::With(mine) => {
                    end <= mine
                        || (end.len() == mine.len() + 1 && end.strip_prefix(mine) == Some(&[0]))
                }
            },
            End::With(key) => self.is_behind(key),
        };
        if covers { self } else { other }
    }
}

impl<'r> Spans<'r> {
    fn insert(&mut self, key: &'r [u8], range_end: &'r [u8]) {
        let end = if range_end.is_empty() { End::With(key) } else { End::Before(range_end) };
        self.insert_span(key, end);
    }

    fn insert_span(&mut self, start: &'r [u8], end: End<'r>) {
        if !end.is_behind(start) {
            return;
        }
        let (mut start, mut end) = (start, end);
        if let Some((&before, &its_end)) = self.0.range(..=start).next_back()
            && its_end.is_behind(start)
        {
            (start, end) = (before, its_end.max(end));
        }
        while let Some((&next, &its_end)) = self.0.range(start..).next() {
            if !end.is_behind(next) {
                break;
            }
            self.0.remove(next);
            end = end.max(its_end);
        }
        self.0.insert(start, end);
    }

    fn append(&mut self, other: Spans<'r>) {
        for (start, end) in other.0 {
            self.insert_span(start, end);
        }
    }

    fn contain(&self, key: &[u8]) -> bool {
        self.0.range(..=key).next_back().is_some_and(|(_, end)| end.is_behind(key))
    }
}
