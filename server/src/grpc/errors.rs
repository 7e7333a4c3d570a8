//! Every error a client can get over gRPC: its code and its text, in one table.
//!
//! Clients match on both, so they are etcd 3.7's to the letter
//! (`api/v3rpc/rpctypes/error.go` and `server/etcdserver/api/v3rpc/util.go`). Other rooms name
//! conditions; only this file knows words.

use tokio::task::JoinError;
use tonic::{Code, Status};

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The state machine's own answer.
    Store(store::Error),
    /// The log could not take or confirm it.
    Raft(raft::Error),
    /// A proposal above the limit for requests.
    RequestTooLarge,
    /// A message above what the connection accepts, and that limit: grpc-go's words, since etcd's
    /// clients know those.
    MessageTooLarge {
        len: usize,
        len_max: usize,
    },
    /// An answer above what one gRPC message can hold.
    AnswerTooLarge {
        len: usize,
        len_max: usize,
    },
    /// The metadata asks for a leader and there is none.
    NoLeader,
    /// This member does not lead and the call needs the leader.
    LeaderChanged,
    /// A learner serves only what is read from itself.
    NotSupportedForLearner,
    InvalidClientApiVersion,
    /// The token is unknown: expired, revoked or never given.
    InvalidAuthToken,
    /// This member checks tokens and gives none.
    VerifyOnly,
    /// A password for a user who has none.
    NoPasswordUser,
    PasswordTooLong,
    MemberUrlsInvalid,
    /// Why the members stay as they are.
    Members(raft::MembersError),
    /// Only the leader can do this.
    NotLeader,
    BadLeaderTransferee,
    /// The member that was to lead is not there, or did not take over.
    TransferTimedOut,
    WrongDowngradeVersion,
    InvalidDowngradeTarget,
    /// An action whose number this version does not know.
    UnknownMethod,
    StreamWithSort,
    StreamWithRevisionFilters,
    /// The key that waits for a lock went, with its lease or by somebody's hand.
    MutexSessionExpired,
    ElectionNoLeader,
    /// The key of the candidate or leader went.
    ElectionNotLeader,
    /// The call of a leader does not say which.
    LeaderKeyMissing,
    /// A task of ours ended before its time; the message is for people.
    Internal(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Error::Store(error)
    }
}

impl From<raft::Error> for Error {
    fn from(error: raft::Error) -> Self {
        Error::Raft(error)
    }
}

impl From<JoinError> for Error {
    /// A crash prints its own words where the operator sees them; what it was at is no client's
    /// business.
    fn from(_: JoinError) -> Self {
        Error::Internal("a task of the server ended before its time".to_owned())
    }
}

impl From<raft::MembersError> for Error {
    fn from(error: raft::MembersError) -> Self {
        match error {
            raft::MembersError::Raft(error) => Error::Raft(error),
            error => Error::Members(error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => of_store(&error),
            Error::Raft(error) => of_raft(&error),
            Error::Members(error) => of_members(&error),
            error => of_edge(error),
        }
    }
}

/// etcd's text for `error`, as it stands in answers that carry errors inside (watch).
pub fn text(error: impl Into<Error>) -> String {
    Status::from(error.into()).message().to_owned()
}

fn of_store(error: &store::Error) -> Status {
    use store::Error as E;
    if let E::Engine(what) = error {
        // The server is about to stop: for a client it is one that has gone.
        tracing::error!(what, "the storage engine failed under a request");
        return Status::new(Code::Unavailable, "etcdserver: server stopped");
    }
    let (code, text) = match error {
        E::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
        E::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
        E::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
        E::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
        E::TooManyOps => (Code::InvalidArgument, "etcdserver: too many operations in txn request"),
        E::DuplicateKey => {
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request")
        }
        E::InvalidSortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
        E::Compacted => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
        }
        E::FutureRevision => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        E::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
        E::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
        E::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
        E::NoSpace => (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        E::Corrupt => (Code::DataLoss, "etcdserver: corrupt cluster"),
        E::MemberNotFound => (Code::NotFound, "etcdserver: member not found"),
        // Asked again, it is answered by the state that took its place.
        E::Replaced => (Code::Unavailable, "etcdserver: leader changed"),
        error => of_auth(error),
    };
    Status::new(code, text)
}

fn of_auth(error: &store::Error) -> (Code, &'static str) {
    use store::Error as E;
    match error {
        E::RootUserNotExist => (Code::FailedPrecondition, "etcdserver: root user does not exist"),
        E::RootRoleNotExist => {
            (Code::FailedPrecondition, "etcdserver: root user does not have root role")
        }
        E::UserExists => (Code::FailedPrecondition, "etcdserver: user name already exists"),
        E::UserEmpty => (Code::InvalidArgument, "etcdserver: user name is empty"),
        E::UserNotFound => (Code::FailedPrecondition, "etcdserver: user name not found"),
        E::RoleExists => (Code::FailedPrecondition, "etcdserver: role name already exists"),
        E::RoleNotFound => (Code::FailedPrecondition, "etcdserver: role name not found"),
        E::RoleEmpty => (Code::InvalidArgument, "etcdserver: role name is empty"),
        E::AuthFailed => (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
        ),
        E::PermissionDenied => (Code::PermissionDenied, "etcdserver: permission denied"),
        E::PermissionNotGiven => (Code::InvalidArgument, "etcdserver: permission not given"),
        E::RoleNotGranted => {
            (Code::FailedPrecondition, "etcdserver: role is not granted to the user")
        }
        E::PermissionNotGranted => {
            (Code::FailedPrecondition, "etcdserver: permission is not granted to the role")
        }
        E::AuthNotEnabled => {
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled")
        }
        E::AuthOldRevision => (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
        E::InvalidAuthManagement => (Code::InvalidArgument, "etcdserver: invalid auth management"),
        // The enum may grow; a condition without words must not pass for success.
        _ => (Code::Unknown, "etcdserver: unknown error"),
    }
}

/// Transient trouble is `Unavailable`, which etcd's client retries.
fn of_raft(error: &raft::Error) -> Status {
    use raft::Error as E;
    let (code, text) = match error {
        E::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
        E::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
        E::Timeout => (Code::Unavailable, "etcdserver: request timed out"),
        E::TooManyRequests => (Code::ResourceExhausted, "etcdserver: too many requests"),
        // Stopped, and what makes it stop.
        _ => (Code::Unavailable, "etcdserver: server stopped"),
    };
    Status::new(code, text)
}

fn of_members(error: &raft::MembersError) -> Status {
    use raft::MembersError as E;
    let (code, text) = match error {
        E::NotFound => (Code::NotFound, "etcdserver: member not found"),
        E::IdExists => (Code::FailedPrecondition, "etcdserver: member ID already exist"),
        E::PeerUrlsExist => (Code::FailedPrecondition, "etcdserver: Peer URLs already exists"),
        E::NotLearner => {
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        E::NotReady => (
            Code::FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        E::TooManyLearners => {
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        // etcd's table has a client's error here in place of a server's, and that has no code.
        E::NotEnoughStarted => {
            (Code::Unknown, "etcdserver: re-configuration failed due to not enough started members")
        }
        E::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
        // The enum may grow.
        _ => (Code::Unknown, "etcdserver: the members stay as they are"),
    };
    Status::new(code, text)
}

fn of_edge(error: Error) -> Status {
    let (code, text) = match error {
        Error::RequestTooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
        Error::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
        Error::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
        Error::NotSupportedForLearner => {
            (Code::FailedPrecondition, "etcdserver: rpc not supported for learner")
        }
        Error::InvalidClientApiVersion => {
            (Code::InvalidArgument, "etcdserver: invalid client api version")
        }
        Error::InvalidAuthToken => (Code::Unauthenticated, "etcdserver: invalid auth token"),
        // These are not in etcd's table, so they reach clients as they are, with this code.
        Error::TransferTimedOut => {
            (Code::Unknown, "etcdserver: request timed out, leader transfer took too long")
        }
        Error::VerifyOnly => (Code::Unknown, "auth: token signing attempted with verify-only key"),
        Error::NoPasswordUser => {
            (Code::Unknown, "auth: authentication failed, password was given for no password user")
        }
        Error::PasswordTooLong => (Code::Unknown, "bcrypt: password length exceeds 72 bytes"),
        Error::MemberUrlsInvalid => {
            (Code::InvalidArgument, "etcdserver: given member URLs are invalid")
        }
        Error::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
        Error::BadLeaderTransferee => {
            (Code::FailedPrecondition, "etcdserver: bad leader transferee")
        }
        Error::WrongDowngradeVersion => {
            (Code::InvalidArgument, "etcdserver: wrong downgrade target version format")
        }
        Error::InvalidDowngradeTarget => {
            (Code::InvalidArgument, "etcdserver: invalid downgrade target version")
        }
        Error::UnknownMethod => (Code::Unknown, "etcdserver: unknown method"),
        Error::StreamWithSort => {
            (Code::Unimplemented, "RangeStream does not support custom sort orders")
        }
        Error::StreamWithRevisionFilters => {
            (Code::Unimplemented, "RangeStream does not support revision filters")
        }
        error => return of_concurrency(error),
    };
    Status::new(code, text)
}

/// etcd's recipes are no part of its table of errors, so theirs have no code.
fn of_concurrency(error: Error) -> Status {
    let text = match error {
        Error::MutexSessionExpired => "mutex: session is expired",
        Error::ElectionNoLeader => "election: no leader",
        Error::ElectionNotLeader => "election: not leader",
        Error::LeaderKeyMissing => "\"leader\" field must be provided",
        error => return of_sizes(error),
    };
    Status::new(Code::Unknown, text)
}

fn of_sizes(error: Error) -> Status {
    match error {
        Error::MessageTooLarge { len, len_max } => Status::new(
            Code::ResourceExhausted,
            format!("grpc: received message larger than max ({len} vs. {len_max})"),
        ),
        Error::AnswerTooLarge { len, len_max } => Status::new(
            Code::ResourceExhausted,
            format!("grpc: trying to send message larger than max ({len} vs. {len_max})"),
        ),
        Error::Internal(what) => Status::new(Code::Internal, what),
        error => Status::new(Code::Internal, format!("{error:?}")),
    }
}

/// What came of reading a client's stream: our gRPC library says in its own words that a message
/// is too large.
pub fn of_stream(status: Status) -> Status {
    match oversize(status.code(), status.message()) {
        Some(error) => error.into(),
        None => status,
    }
}

/// Reads the two numbers out of tonic's text for a message above the limit.
pub(super) fn oversize(code: Code, message: &str) -> Option<Error> {
    if code != Code::OutOfRange {
        return None;
    }
    let numbers = message.strip_prefix("Error, decoded message length too large: found ")?;
    let (len, rest) = numbers.split_once(" bytes, the limit is: ")?;
    let len_max = rest.strip_suffix(" bytes")?;
    Some(Error::MessageTooLarge { len: len.parse().ok()?, len_max: len_max.parse().ok()? })
}

#[cfg(test)]
mod tests;
