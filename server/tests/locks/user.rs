//! Who may: the services act with the rights of whoever calls.

use api::authpb::{Permission, permission};
use api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, AuthenticateRequest, LeaseLeasesRequest,
    RangeRequest,
};
use api::v3electionpb::{CampaignRequest, LeaderRequest};
use api::v3lockpb::{LockRequest, UnlockRequest};
use testkit::{Clients, Kind, Server, bounded, eventually, subject, with_token};
use tonic::Code;

use crate::{LONG_S, grant};

/// `ann` may everything under `hers/`. Auth is on afterwards; her token.
async fn with_ann(clients: &Clients) -> String {
    let mut auth = clients.auth.clone();
    for name in ["root", "ann"] {
        let (name, password) = (name.to_owned(), "p".to_owned());
        let add = AuthUserAddRequest { name, password, ..Default::default() };
        auth.user_add(add).await.unwrap();
    }
    auth.role_add(AuthRoleAddRequest { name: "hers".into() }).await.unwrap();
    let perm_type = permission::Type::Readwrite as i32;
    let perm = Permission { perm_type, key: "hers/".into(), range_end: "hers0".into() };
    let give = AuthRoleGrantPermissionRequest { name: "hers".into(), perm: Some(perm) };
    auth.role_grant_permission(give).await.unwrap();
    for (user, role) in [("root", "root"), ("ann", "hers")] {
        let (user, role) = (user.to_owned(), role.to_owned());
        auth.user_grant_role(AuthUserGrantRoleRequest { user, role }).await.unwrap();
    }
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let login = AuthenticateRequest { name: "ann".into(), password: "p".into() };
    auth.authenticate(login).await.unwrap().into_inner().token
}

/// Proves that a caller locks and leads what its roles let it write, and nothing else; and nothing
/// at all without a token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_own_rights_count() {
    let server = Server::start(subject!(), &["--bcrypt-cost=4"]).await;
    let clients = server.clients();
    grant(&clients, 1, LONG_S).await;
    let token = with_ann(&clients).await;
    let lock = async |name: &str, token: Option<&str>| {
        let request = LockRequest { name: name.to_owned().into(), lease: 1 };
        let locked = bounded(clients.lock.clone().lock(with_token(request, token))).await;
        locked.map(|locked| locked.into_inner().key).map_err(|status| status.message().to_owned())
    };
    let denied = "etcdserver: permission denied";
    assert_eq!(lock("hers/lock", Some(&token)).await.as_deref(), Ok(&b"hers/lock/1"[..]));
    assert_eq!(lock("else", Some(&token)).await, Err(denied.to_owned()));
    assert_eq!(lock("hers", None).await, Err("etcdserver: user name is empty".to_owned()));
    let invalid = "etcdserver: invalid auth token".to_owned();
    assert_eq!(lock("hers", Some("nonsense")).await, Err(invalid));

    let key = "else/1".into();
    let unlock = with_token(UnlockRequest { key }, Some(&token));
    let told = bounded(clients.lock.clone().unlock(unlock)).await.unwrap_err();
    assert_eq!((told.code(), told.message()), (Code::Unknown, denied));

    let mut election = clients.election.clone();
    let campaign = |name: &str| {
        let request = CampaignRequest { name: name.to_owned().into(), lease: 1, value: "v".into() };
        with_token(request, Some(&token))
    };
    bounded(election.campaign(campaign("hers/election"))).await.unwrap();
    let told = bounded(election.campaign(campaign("else"))).await.unwrap_err();
    assert_eq!(told.message(), denied);
    let leader = with_token(LeaderRequest { name: "else".into() }, Some(&token));
    assert_eq!(bounded(election.leader(leader)).await.unwrap_err().message(), denied);
}

async fn token_of(clients: &Clients, name: &str) -> String {
    let login = AuthenticateRequest { name: name.to_owned(), password: "p".into() };
    bounded(clients.auth.clone().authenticate(login)).await.unwrap().into_inner().token
}

/// Proves that a place in a queue goes with its caller, although the caller may not delete it any
/// more by then: nobody else would, and those behind it would wait for it. A lease that was granted
/// for it goes too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_goes_with_a_caller_whose_rights_have_ended() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // There it stays until its lease ends.
        return;
    }
    let server = Server::start(program, &["--bcrypt-cost=4"]).await;
    let clients = server.clients();
    grant(&clients, 1, LONG_S).await;
    grant(&clients, 2, LONG_S).await;
    let hers = with_ann(&clients).await;
    let root = token_of(&clients, "root").await;
    let lock = |lease: i64, token: &str| {
        let request = LockRequest { name: "hers/lock".into(), lease };
        let (clients, request) = (clients.clone(), with_token(request, Some(token)));
        async move { clients.lock.clone().lock(request).await }
    };
    bounded(lock(1, &root)).await.unwrap();
    let waiting = [lock(2, &hers), lock(0, &hers)].map(tokio::spawn);
    let queue_of = async |count: i64| {
        let range = RangeRequest {
            key: "hers/".into(),
            range_end: "hers0".into(),
            count_only: true,
            ..Default::default()
        };
        let what = format!("{count} in the queue");
        eventually(&what, 60, async || {
            let root = token_of(&clients, "root").await;
            let found = clients.kv.clone().range(with_token(range.clone(), Some(&root))).await;
            let found = found.map_err(|status| status.to_string())?.into_inner().count;
            if found == count { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    };
    queue_of(3).await;
    let take = AuthUserRevokeRoleRequest { name: "ann".into(), role: "hers".into() };
    let mut auth = clients.auth.clone();
    bounded(auth.user_revoke_role(with_token(take, Some(&root)))).await.unwrap();
    for waiting in waiting {
        waiting.abort();
    }
    queue_of(1).await;
    let root = token_of(&clients, "root").await;
    let leases = with_token(LeaseLeasesRequest {}, Some(&root));
    let leases = bounded(clients.lease.clone().lease_leases(leases)).await.unwrap().into_inner();
    let mut ids: Vec<i64> = leases.leases.into_iter().map(|lease| lease.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2], "its own lease is gone, the one that it brought is not");
}
