//! The methods that are counted. Others are answered without a trace here: a label that a client
//! can choose would be memory that a client can fill.

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Unary,
    ServerStream,
    BidiStream,
}

impl Shape {
    pub(super) fn label(self) -> &'static str {
        match self {
            Unary => "unary",
            ServerStream => "server_stream",
            BidiStream => "bidi_stream",
        }
    }
}

use Shape::{BidiStream, ServerStream, Unary};

const KV: &str = "etcdserverpb.KV";
const LEASE: &str = "etcdserverpb.Lease";
const CLUSTER: &str = "etcdserverpb.Cluster";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const AUTH: &str = "etcdserverpb.Auth";
const LOCK: &str = "v3lockpb.Lock";
const ELECTION: &str = "v3electionpb.Election";
const HEALTH: &str = "grpc.health.v1.Health";

pub(super) const METHODS: &[(Shape, &str, &str)] = &[
    (Unary, KV, "Range"),
    (ServerStream, KV, "RangeStream"),
    (Unary, KV, "Put"),
    (Unary, KV, "DeleteRange"),
    (Unary, KV, "Txn"),
    (Unary, KV, "Compact"),
    (BidiStream, "etcdserverpb.Watch", "Watch"),
    (Unary, LEASE, "LeaseGrant"),
    (Unary, LEASE, "LeaseRevoke"),
    (BidiStream, LEASE, "LeaseKeepAlive"),
    (Unary, LEASE, "LeaseTimeToLive"),
    (Unary, LEASE, "LeaseLeases"),
    (Unary, CLUSTER, "MemberAdd"),
    (Unary, CLUSTER, "MemberRemove"),
    (Unary, CLUSTER, "MemberUpdate"),
    (Unary, CLUSTER, "MemberList"),
    (Unary, CLUSTER, "MemberPromote"),
    (Unary, MAINTENANCE, "Alarm"),
    (Unary, MAINTENANCE, "Status"),
    (Unary, MAINTENANCE, "Defragment"),
    (Unary, MAINTENANCE, "Hash"),
    (Unary, MAINTENANCE, "HashKV"),
    (ServerStream, MAINTENANCE, "Snapshot"),
    (Unary, MAINTENANCE, "MoveLeader"),
    (Unary, MAINTENANCE, "Downgrade"),
    (Unary, AUTH, "AuthEnable"),
    (Unary, AUTH, "AuthDisable"),
    (Unary, AUTH, "AuthStatus"),
    (Unary, AUTH, "Authenticate"),
    (Unary, AUTH, "UserAdd"),
    (Unary, AUTH, "UserGet"),
    (Unary, AUTH, "UserList"),
    (Unary, AUTH, "UserDelete"),
    (Unary, AUTH, "UserChangePassword"),
    (Unary, AUTH, "UserGrantRole"),
    (Unary, AUTH, "UserRevokeRole"),
    (Unary, AUTH, "RoleAdd"),
    (Unary, AUTH, "RoleGet"),
    (Unary, AUTH, "RoleList"),
    (Unary, AUTH, "RoleDelete"),
    (Unary, AUTH, "RoleGrantPermission"),
    (Unary, AUTH, "RoleRevokePermission"),
    (Unary, LOCK, "Lock"),
    (Unary, LOCK, "Unlock"),
    (Unary, ELECTION, "Campaign"),
    (Unary, ELECTION, "Proclaim"),
    (Unary, ELECTION, "Leader"),
    (ServerStream, ELECTION, "Observe"),
    (Unary, ELECTION, "Resign"),
    (Unary, HEALTH, "Check"),
    (ServerStream, HEALTH, "Watch"),
];

/// Go's names of the gRPC codes, by number.
pub(super) const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A gRPC code: its place in [`CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(usize);

impl Code {
    pub(super) const OK: Self = Self(0);
    pub(super) const CANCELED: Self = Self(1);
    const UNKNOWN: Self = Self(2);

    /// Of a `grpc-status` value.
    pub(super) fn of(status: &str) -> Self {
        let known = status.parse().ok().filter(|number: &usize| *number < CODES.len());
        known.map_or(Self::UNKNOWN, Self)
    }

    pub(super) fn name(self) -> &'static str {
        CODES[self.0]
    }

    pub(super) fn index(self) -> usize {
        self.0
    }
}
