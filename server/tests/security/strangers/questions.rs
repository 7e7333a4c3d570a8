//! What a stranger asks of each method: always of what was planted.

use api::authpb::Permission;
use api::etcdserverpb as pb;
use api::etcdserverpb::request_op::Request as Op;
use api::etcdserverpb::watch_request::RequestUnion;
use api::{v3electionpb as election, v3lockpb as lock};
use prost::Message;

use super::planted::{KEY, LEASES, ROLE, USER};

/// The request for a method, given as `Service/Method`; `None`: nobody has thought of it yet.
pub(crate) fn question(method: &str) -> Option<Vec<u8>> {
    let (service, method) = method.split_once('/')?;
    match service {
        "KV" => kv(method),
        "Watch" | "Lease" => stream_or_lease(method),
        "Cluster" => cluster(method),
        "Maintenance" => maintenance(method),
        "Auth" => auth(method),
        "Lock" | "Election" => concurrency(method),
        "Health" | "ServerReflection" => Some(Vec::new()),
        _ => None,
    }
}

fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..pb::RangeRequest::default()
    }
}

fn kv(method: &str) -> Option<Vec<u8>> {
    let key = || KEY.into();
    Some(match method {
        "Range" => everything().encode_to_vec(),
        // A later method than those of 3.4, and one that no permission for a key would do for.
        "RangeStream" => everything().encode_to_vec(),
        "Put" => pb::PutRequest { key: key(), prev_kv: true, ..Default::default() }.encode_to_vec(),
        "DeleteRange" => {
            let all = vec![0];
            let (key, range_end) = (all.clone().into(), all.into());
            pb::DeleteRangeRequest { key, range_end, prev_kv: true }.encode_to_vec()
        }
        "Txn" => {
            let read = pb::RequestOp { request: Some(Op::RequestRange(everything())) };
            let put = pb::PutRequest { key: key(), prev_kv: true, ..Default::default() };
            let put = pb::RequestOp { request: Some(Op::RequestPut(put)) };
            pb::TxnRequest { success: vec![read, put], ..Default::default() }.encode_to_vec()
        }
        "Compact" => pb::CompactionRequest { revision: 2, physical: true }.encode_to_vec(),
        _ => return None,
    })
}

fn stream_or_lease(method: &str) -> Option<Vec<u8>> {
    let id = LEASES[0];
    Some(match method {
        "Watch" => {
            let create = pb::WatchCreateRequest {
                key: vec![0].into(),
                range_end: vec![0].into(),
                start_revision: 1,
                prev_kv: true,
                ..Default::default()
            };
            let request_union = Some(RequestUnion::CreateRequest(create));
            pb::WatchRequest { request_union }.encode_to_vec()
        }
        "LeaseGrant" => pb::LeaseGrantRequest { id: 1, ttl: 3_600 }.encode_to_vec(),
        "LeaseRevoke" => pb::LeaseRevokeRequest { id }.encode_to_vec(),
        "LeaseKeepAlive" => pb::LeaseKeepAliveRequest { id }.encode_to_vec(),
        "LeaseTimeToLive" => pb::LeaseTimeToLiveRequest { id, keys: true }.encode_to_vec(),
        "LeaseLeases" => pb::LeaseLeasesRequest {}.encode_to_vec(),
        _ => return None,
    })
}

fn cluster(method: &str) -> Option<Vec<u8>> {
    let peer_urls = || vec!["http://127.0.0.1:9".to_owned()];
    Some(match method {
        "MemberAdd" => {
            pb::MemberAddRequest { peer_urls: peer_urls(), is_learner: true }.encode_to_vec()
        }
        "MemberRemove" => pb::MemberRemoveRequest { id: 9 }.encode_to_vec(),
        "MemberUpdate" => pb::MemberUpdateRequest { id: 9, peer_urls: peer_urls() }.encode_to_vec(),
        "MemberList" => pb::MemberListRequest { linearizable: true }.encode_to_vec(),
        "MemberPromote" => pb::MemberPromoteRequest { id: 9 }.encode_to_vec(),
        _ => return None,
    })
}

fn maintenance(method: &str) -> Option<Vec<u8>> {
    Some(match method {
        "Alarm" => pb::AlarmRequest {
            action: pb::alarm_request::AlarmAction::Activate as i32,
            member_id: 9,
            alarm: pb::AlarmType::Nospace as i32,
        }
        .encode_to_vec(),
        "Status" | "Defragment" | "Hash" | "Snapshot" => Vec::new(),
        "HashKV" => pb::HashKvRequest { revision: 2 }.encode_to_vec(),
        "MoveLeader" => pb::MoveLeaderRequest { target_id: 9 }.encode_to_vec(),
        "Downgrade" => pb::DowngradeRequest { action: 0, version: "3.6".into() }.encode_to_vec(),
        _ => return None,
    })
}

fn concurrency(method: &str) -> Option<Vec<u8>> {
    let name = || KEY.into();
    let leader = || {
        let key = KEY.into();
        Some(election::LeaderKey { name: name(), key, rev: 2, lease: LEASES[0] })
    };
    Some(match method {
        "Lock" => lock::LockRequest { name: name(), lease: LEASES[0] }.encode_to_vec(),
        "Unlock" => lock::UnlockRequest { key: name() }.encode_to_vec(),
        "Campaign" => {
            let value = "a stranger's".into();
            election::CampaignRequest { name: name(), lease: LEASES[0], value }.encode_to_vec()
        }
        "Proclaim" => {
            let value = "a stranger's".into();
            election::ProclaimRequest { leader: leader(), value }.encode_to_vec()
        }
        "Leader" | "Observe" => election::LeaderRequest { name: name() }.encode_to_vec(),
        "Resign" => election::ResignRequest { leader: leader() }.encode_to_vec(),
        _ => return None,
    })
}

fn auth(method: &str) -> Option<Vec<u8>> {
    let name = || USER.to_owned();
    let role = || ROLE.to_owned();
    let password = || "a stranger's".to_owned();
    Some(match method {
        "AuthEnable" | "AuthDisable" | "AuthStatus" | "UserList" | "RoleList" => Vec::new(),
        "Authenticate" => {
            pb::AuthenticateRequest { name: name(), password: password() }.encode_to_vec()
        }
        "UserAdd" => {
            let (name, password) = ("stranger".to_owned(), password());
            pb::AuthUserAddRequest { name, password, ..Default::default() }.encode_to_vec()
        }
        "UserGet" => pb::AuthUserGetRequest { name: name() }.encode_to_vec(),
        "UserDelete" => pb::AuthUserDeleteRequest { name: name() }.encode_to_vec(),
        "UserChangePassword" => {
            let (name, password) = ("root".to_owned(), password());
            let request =
                pb::AuthUserChangePasswordRequest { name, password, ..Default::default() };
            request.encode_to_vec()
        }
        "UserGrantRole" => {
            pb::AuthUserGrantRoleRequest { user: name(), role: "root".into() }.encode_to_vec()
        }
        "UserRevokeRole" => {
            pb::AuthUserRevokeRoleRequest { name: name(), role: role() }.encode_to_vec()
        }
        "RoleAdd" => pb::AuthRoleAddRequest { name: "stranger".into() }.encode_to_vec(),
        "RoleGet" => pb::AuthRoleGetRequest { role: role() }.encode_to_vec(),
        "RoleDelete" => pb::AuthRoleDeleteRequest { role: role() }.encode_to_vec(),
        "RoleGrantPermission" => {
            let perm = Permission { perm_type: 2, key: vec![0].into(), range_end: vec![0].into() };
            pb::AuthRoleGrantPermissionRequest { name: role(), perm: Some(perm) }.encode_to_vec()
        }
        "RoleRevokePermission" => {
            let (role, key) = (role(), KEY.into());
            pb::AuthRoleRevokePermissionRequest { role, key, range_end: "".into() }.encode_to_vec()
        }
        _ => return None,
    })
}
