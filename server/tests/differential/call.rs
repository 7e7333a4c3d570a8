//! Every unary call of etcd's services, as data: what to send and what came back.

use api::etcdserverpb::*;
use testkit::{Clients, with_token};
use tonic::{Code, Status};

macro_rules! unary_calls {
    ($($name:ident: $client:ident.$method:ident($request:ty) -> $response:ty;)*) => {
        /// One request.
        #[derive(Clone, Debug)]
        pub(crate) enum Call { $($name($request)),* }

        /// One answer, of the same name as its call.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Reply { $($name($response),)* LeaseKeepAlive(LeaseKeepAliveResponse) }

        impl Call {
            /// Sends it and waits for the answer.
            pub(crate) async fn send(self, clients: &mut Clients, token: Option<&str>) -> Result<Reply, Status> {
                match self {
                    $(Self::$name(request) => {
                        let answer = clients.$client.$method(with_token(request, token)).await?;
                        Ok(Reply::$name(answer.into_inner()))
                    })*
                }
            }
        }

        impl Reply {
            pub(crate) fn header_mut(&mut self) -> &mut Option<ResponseHeader> {
                match self {
                    $(Self::$name(reply) => &mut reply.header,)*
                    Self::LeaseKeepAlive(reply) => &mut reply.header,
                }
            }
        }
    };
}

unary_calls! {
    Range: kv.range(RangeRequest) -> RangeResponse;
    Put: kv.put(PutRequest) -> PutResponse;
    DeleteRange: kv.delete_range(DeleteRangeRequest) -> DeleteRangeResponse;
    Txn: kv.txn(TxnRequest) -> TxnResponse;
    Compact: kv.compact(CompactionRequest) -> CompactionResponse;
    LeaseGrant: lease.lease_grant(LeaseGrantRequest) -> LeaseGrantResponse;
    LeaseRevoke: lease.lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse;
    LeaseTimeToLive: lease.lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse;
    LeaseLeases: lease.lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse;
    MemberList: cluster.member_list(MemberListRequest) -> MemberListResponse;
    Alarm: maintenance.alarm(AlarmRequest) -> AlarmResponse;
    Status: maintenance.status(StatusRequest) -> StatusResponse;
    Defragment: maintenance.defragment(DefragmentRequest) -> DefragmentResponse;
    Hash: maintenance.hash(HashRequest) -> HashResponse;
    HashKv: maintenance.hash_kv(HashKvRequest) -> HashKvResponse;
    MoveLeader: maintenance.move_leader(MoveLeaderRequest) -> MoveLeaderResponse;
    AuthEnable: auth.auth_enable(AuthEnableRequest) -> AuthEnableResponse;
    AuthDisable: auth.auth_disable(AuthDisableRequest) -> AuthDisableResponse;
    AuthStatus: auth.auth_status(AuthStatusRequest) -> AuthStatusResponse;
    Authenticate: auth.authenticate(AuthenticateRequest) -> AuthenticateResponse;
    UserAdd: auth.user_add(AuthUserAddRequest) -> AuthUserAddResponse;
    UserGet: auth.user_get(AuthUserGetRequest) -> AuthUserGetResponse;
    UserList: auth.user_list(AuthUserListRequest) -> AuthUserListResponse;
    UserDelete: auth.user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse;
    UserChangePassword: auth.user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse;
    UserGrantRole: auth.user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse;
    UserRevokeRole: auth.user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse;
    RoleAdd: auth.role_add(AuthRoleAddRequest) -> AuthRoleAddResponse;
    RoleGet: auth.role_get(AuthRoleGetRequest) -> AuthRoleGetResponse;
    RoleList: auth.role_list(AuthRoleListRequest) -> AuthRoleListResponse;
    RoleDelete: auth.role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse;
    RoleGrantPermission: auth.role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse;
    RoleRevokePermission: auth.role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse;
}

/// What a server answered: a reply, or a refusal with its code and text.
pub(crate) type Answer = Result<Reply, Refusal>;

/// A gRPC status, in the parts that clients match on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub code: Code,
    pub text: String,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { code: status.code(), text: status.message().to_owned() }
    }
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Caller {
    /// Sends no token.
    Nobody,
    /// Sends a token that no server ever issued.
    Forger,
    /// Sends the last token that this user got on the server in question, if any.
    User(&'static str),
}

/// One step of a run: the same on both servers.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub caller: Caller,
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Call(Call),
    KeepAlive(i64),
    Watch(WatchCreateRequest),
    CancelWatch(i64),
    /// Wait until every watcher has seen everything, judge it, and ask for progress.
    SettleWatches,
}
