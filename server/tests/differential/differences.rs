//! The only places where berth, which answers as etcd 3.7 does, may differ from the reference,
//! which is etcd 3.4.23. Each has its reason; everything else has to be equal.

use api::etcdserverpb::WatchResponse;
use tonic::Code;

use crate::call::{Answer, Call, Reply};

/// Two whole answers that differ on purpose.
pub(crate) struct Difference {
    pub reason: &'static str,
    pub applies: fn(&Call, reference: &Answer, subject: &Answer) -> bool,
}

/// The table. A row that no run ever uses is harmless; a row without a reason is not.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "3.4 has no AuthStatus (it came with 3.5)",
        applies: |call, reference, subject| {
            matches!(call, Call::AuthStatus(_))
                && code(reference) == Some(Code::Unimplemented)
                && code(subject) != Some(Code::Unimplemented)
        },
    },
    Difference {
        reason: "of several faults in a transaction 3.4 names a put's first, 3.7 the first",
        applies: |call, reference, subject| {
            matches!(call, Call::Txn(_)) && is_txn_fault(reference) && is_txn_fault(subject)
        },
    },
    Difference {
        reason: "3.4 has no hash at exactly the compacted revision, 3.7 has",
        applies: |call, reference, subject| {
            let (Call::HashKv(request), Ok(Reply::HashKv(hash))) = (call, subject) else {
                return false;
            };
            code(reference) == Some(Code::OutOfRange) && request.revision == hash.compact_revision
        },
    },
];

/// What is only found when a transaction meets the store.
fn is_txn_fault(answer: &Answer) -> bool {
    let Err(refusal) = answer else { return false };
    [
        "etcdserver: key not found",
        "etcdserver: requested lease not found",
        "etcdserver: mvcc: required revision has been compacted",
        "etcdserver: mvcc: required revision is a future revision",
    ]
    .contains(&&refusal.text[..])
}

fn code(answer: &Answer) -> Option<Code> {
    answer.as_ref().err().map(|refusal| refusal.code)
}

/// What comparing two answers came to.
pub(crate) enum Verdict {
    Equal,
    /// They differ, and the row with this reason allows it.
    Excused(&'static str),
    Different,
}

/// Compares the two answers to `call` (or to a lease renewal). Makes them equal where they may
/// differ in part, so that a failure message shows only what matters.
pub(crate) fn judge(call: Option<&Call>, reference: &mut Answer, subject: &mut Answer) -> Verdict {
    if let (Ok(reference), Ok(subject)) = (&mut *reference, &mut *subject) {
        reconcile(reference, subject);
    }
    if reference == subject {
        return Verdict::Equal;
    }
    let row = call
        .and_then(|call| DIFFERENCES.iter().find(|row| (row.applies)(call, reference, subject)));
    row.map_or(Verdict::Different, |row| Verdict::Excused(row.reason))
}

/// Aligns fields of two replies that may differ although the replies are the same.
fn reconcile(reference: &mut Reply, subject: &mut Reply) {
    match (reference, subject) {
        // A second may end between the two calls.
        (Reply::LeaseTimeToLive(reference), Reply::LeaseTimeToLive(subject))
            if reference.ttl.min(subject.ttl) >= 0 && reference.ttl.abs_diff(subject.ttl) <= 1 =>
        {
            subject.ttl = reference.ttl;
        }
        (Reply::Status(reference), Reply::Status(subject)) => {
            // 3.4 says 3.4.23, and does not know the fields of 3.6 and 3.7.
            subject.version.clone_from(&reference.version);
            subject.storage_version.clone_from(&reference.storage_version);
            subject.db_size_quota = reference.db_size_quota;
            subject.downgrade_info.clone_from(&reference.downgrade_info);
        }
        // 3.4 leaves the header of this answer out; 3.5 fills it.
        (Reply::Alarm(reference), Reply::Alarm(subject)) if reference.header.is_none() => {
            subject.header = None;
        }
        (Reply::HashKv(reference), Reply::HashKv(subject)) => {
            // A field of 3.6.
            subject.hash_revision = reference.hash_revision;
        }
        _ => {}
    }
}

/// A new leader gives each lease its whole time again, and an election on top.
pub(crate) fn reconcile_leases(reference: &mut Answer, subject: &mut Answer) {
    if let (Ok(Reply::LeaseTimeToLive(reference)), Ok(Reply::LeaseTimeToLive(subject))) =
        (reference, subject)
    {
        let given = reference.ttl - 1..=reference.granted_ttl + ELECTION_S_MAX;
        if reference.ttl >= 0 && given.contains(&subject.ttl) {
            subject.ttl = reference.ttl;
        }
    }
}

/// With the default timeouts, and rounded up.
const ELECTION_S_MAX: i64 = 3;

/// Aligns parts of two watch answers that may differ although the answers are the same.
pub(crate) fn reconcile_watch(reference: &mut WatchResponse, subject: &mut WatchResponse) {
    let refused = |answer: &WatchResponse| answer.created && answer.canceled;
    if refused(reference) && refused(subject) {
        // 3.4 repeats the id that was asked for; since 3.5 a refused watcher has id -1.
        subject.watch_id = reference.watch_id;
        // 3.4 says "permission denied" for a bad token too; 3.5 says what is wrong.
        if reference.cancel_reason.ends_with("permission denied")
            && TOKEN_REASONS.iter().any(|reason| subject.cancel_reason.ends_with(reason))
        {
            subject.cancel_reason.clone_from(&reference.cancel_reason);
        }
    }
}

const TOKEN_REASONS: &[&str] =
    &["etcdserver: invalid auth token", "etcdserver: user name is empty"];
