use store::Error as S;

use super::*;

/// Every condition that can reach a client, with the code and text of etcd's
/// `api/v3rpc/rpctypes/error.go`.
const TABLE: &[(Case, Code, &str)] = &[
    (Case::Store(S::EmptyKey), Code::InvalidArgument, "etcdserver: key is not provided"),
    (Case::Store(S::KeyNotFound), Code::InvalidArgument, "etcdserver: key not found"),
    (Case::Store(S::ValueProvided), Code::InvalidArgument, "etcdserver: value is provided"),
    (Case::Store(S::LeaseProvided), Code::InvalidArgument, "etcdserver: lease is provided"),
    (
        Case::Store(S::TooManyOps),
        Code::InvalidArgument,
        "etcdserver: too many operations in txn request",
    ),
    (
        Case::Store(S::DuplicateKey),
        Code::InvalidArgument,
        "etcdserver: duplicate key given in txn request",
    ),
    (Case::Store(S::InvalidSortOption), Code::InvalidArgument, "etcdserver: invalid sort option"),
    (
        Case::Store(S::Compacted),
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
    ),
    (
        Case::Store(S::FutureRevision),
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    ),
    (Case::Store(S::LeaseNotFound), Code::NotFound, "etcdserver: requested lease not found"),
    (Case::Store(S::LeaseExists), Code::FailedPrecondition, "etcdserver: lease already exists"),
    (Case::Store(S::LeaseTtlTooLarge), Code::OutOfRange, "etcdserver: too large lease TTL"),
    (Case::Store(S::NoSpace), Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
    (Case::Store(S::Corrupt), Code::DataLoss, "etcdserver: corrupt cluster"),
    (
        Case::Store(S::RootUserNotExist),
        Code::FailedPrecondition,
        "etcdserver: root user does not exist",
    ),
    (
        Case::Store(S::RootRoleNotExist),
        Code::FailedPrecondition,
        "etcdserver: root user does not have root role",
    ),
    (Case::Store(S::UserExists), Code::FailedPrecondition, "etcdserver: user name already exists"),
    (Case::Store(S::UserEmpty), Code::InvalidArgument, "etcdserver: user name is empty"),
    (Case::Store(S::UserNotFound), Code::FailedPrecondition, "etcdserver: user name not found"),
    (Case::Store(S::RoleExists), Code::FailedPrecondition, "etcdserver: role name already exists"),
    (Case::Store(S::RoleNotFound), Code::FailedPrecondition, "etcdserver: role name not found"),
    (Case::Store(S::RoleEmpty), Code::InvalidArgument, "etcdserver: role name is empty"),
    (
        Case::Store(S::AuthFailed),
        Code::InvalidArgument,
        "etcdserver: authentication failed, invalid user ID or password",
    ),
    (Case::Store(S::PermissionDenied), Code::PermissionDenied, "etcdserver: permission denied"),
    (Case::Store(S::PermissionNotGiven), Code::InvalidArgument, "etcdserver: permission not given"),
    (
        Case::Store(S::RoleNotGranted),
        Code::FailedPrecondition,
        "etcdserver: role is not granted to the user",
    ),
    (
        Case::Store(S::PermissionNotGranted),
        Code::FailedPrecondition,
        "etcdserver: permission is not granted to the role",
    ),
    (
        Case::Store(S::AuthNotEnabled),
        Code::FailedPrecondition,
        "etcdserver: authentication is not enabled",
    ),
    (
        Case::Store(S::AuthOldRevision),
        Code::InvalidArgument,
        "etcdserver: revision of auth store is old",
    ),
    (
        Case::Store(S::InvalidAuthManagement),
        Code::InvalidArgument,
        "etcdserver: invalid auth management",
    ),
    (Case::Store(S::MemberNotFound), Code::NotFound, "etcdserver: member not found"),
    (Case::Raft(raft::Error::NoLeader), Code::Unavailable, "etcdserver: no leader"),
    (Case::Raft(raft::Error::LeaderChanged), Code::Unavailable, "etcdserver: leader changed"),
    (Case::Raft(raft::Error::Timeout), Code::Unavailable, "etcdserver: request timed out"),
    (Case::Raft(raft::Error::Stopped), Code::Unavailable, "etcdserver: server stopped"),
    (
        Case::Raft(raft::Error::TooManyRequests),
        Code::ResourceExhausted,
        "etcdserver: too many requests",
    ),
    (Case::Edge(Error::RequestTooLarge), Code::InvalidArgument, "etcdserver: request is too large"),
    (Case::Edge(Error::NoLeader), Code::Unavailable, "etcdserver: no leader"),
    (Case::Edge(Error::LeaderChanged), Code::Unavailable, "etcdserver: leader changed"),
    (
        Case::Edge(Error::NotSupportedForLearner),
        Code::FailedPrecondition,
        "etcdserver: rpc not supported for learner",
    ),
    (
        Case::Edge(Error::InvalidClientApiVersion),
        Code::InvalidArgument,
        "etcdserver: invalid client api version",
    ),
    (Case::Edge(Error::InvalidAuthToken), Code::Unauthenticated, "etcdserver: invalid auth token"),
    (
        Case::Edge(Error::MemberUrlsInvalid),
        Code::InvalidArgument,
        "etcdserver: given member URLs are invalid",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::PeerUrlsExist)),
        Code::FailedPrecondition,
        "etcdserver: Peer URLs already exists",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::NotLearner)),
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::NotFound)),
        Code::NotFound,
        "etcdserver: member not found",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::IdExists)),
        Code::FailedPrecondition,
        "etcdserver: member ID already exist",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::NotReady)),
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::TooManyLearners)),
        Code::FailedPrecondition,
        "etcdserver: too many learner members in cluster",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::NotEnoughStarted)),
        Code::Unknown,
        "etcdserver: re-configuration failed due to not enough started members",
    ),
    (
        Case::Edge(Error::Members(raft::MembersError::Unhealthy)),
        Code::Unavailable,
        "etcdserver: unhealthy cluster",
    ),
    (Case::Edge(Error::NotLeader), Code::FailedPrecondition, "etcdserver: not leader"),
    (
        Case::Edge(Error::TransferTimedOut),
        Code::Unknown,
        "etcdserver: request timed out, leader transfer took too long",
    ),
    (
        Case::Edge(Error::BadLeaderTransferee),
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee",
    ),
    (
        Case::Edge(Error::WrongDowngradeVersion),
        Code::InvalidArgument,
        "etcdserver: wrong downgrade target version format",
    ),
    (
        Case::Edge(Error::InvalidDowngradeTarget),
        Code::InvalidArgument,
        "etcdserver: invalid downgrade target version",
    ),
];

/// An error in a constant.
enum Case {
    Store(S),
    Raft(raft::Error),
    Edge(Error),
}

impl Case {
    fn error(&self) -> Error {
        match self {
            Case::Store(error) => error.clone().into(),
            Case::Raft(error) => error.clone().into(),
            Case::Edge(error) => error.clone(),
        }
    }
}

#[test]
fn codes_and_texts_are_etcds() {
    // Shows what clients match on, condition by condition.
    for (case, code, text) in TABLE {
        let error = case.error();
        let status = Status::from(error.clone());
        assert_eq!((status.code(), status.message()), (*code, *text), "{error:?}");
    }
}

#[test]
fn a_node_that_fails_is_gone_for_clients() {
    // Shows that failures of ours are retried elsewhere, and tell nothing of the inside.
    let fatal = raft::Error::Fatal("disk".to_owned());
    for error in [Error::from(fatal), S::Engine("sled".to_owned()).into()] {
        let status = Status::from(error);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "etcdserver: server stopped");
    }
}

#[test]
fn a_message_above_the_limit_is_told_in_grpc_gos_words() {
    // Shows that the library's text is understood, and nothing else is taken for it.
    let text = "Error, decoded message length too large: found 3000000 bytes, \
                the limit is: 2097152 bytes";
    let told = of_stream(Status::out_of_range(text));
    assert_eq!(told.code(), Code::ResourceExhausted);
    assert_eq!(told.message(), "grpc: received message larger than max (3000000 vs. 2097152)");
    let other = of_stream(Status::out_of_range("etcdserver: too large lease TTL"));
    assert_eq!(other.code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_crash_is_not_told_to_clients() {
    // Shows that what a task of ours said when it crashed stays here.
    let crashed = tokio::spawn(async { panic!("at a key of somebody's") }).await;
    let status = Status::from(Error::from(crashed.unwrap_err()));
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("somebody"), "{status:?}");
}
