//! What was lost, or not equal, after a crash.

use api::etcdserverpb::{
    AuthEnableRequest, AuthUserAddRequest, AuthUserGrantRoleRequest, AuthenticateRequest,
    DefragmentRequest, HashKvRequest, PutRequest,
};
use testkit::{Cluster, Server, bounded, subject, with_token};

use crate::steps::{put, revision};

/// Proves that a member that is alone has on its disk what it acknowledged, each time.
#[tokio::test]
async fn etcd_14370_a_single_node_loses_no_acknowledged_write() {
    let mut server = Server::start(subject!(), &[]).await;
    for round in 0..5 {
        let last = put(&server, "k", &format!("{round}")).await;
        server.kill();
        server.restart().await;
        assert_eq!(revision(&server).await, last, "round {round}");
    }
}

/// Proves that a crash between writes leaves all members at one revision with one hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_13766_members_agree_on_revisions_after_crashes_under_load() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    for round in 0..4 {
        let mut clients = cluster.clients((round + 1) % 3);
        let writes = tokio::spawn(async move {
            for count in 0..300 {
                let key = format!("k{}", count % 9).into();
                let request = PutRequest { key, value: "v".into(), ..Default::default() };
                // The member that is asked, or its leader, may be the one that is killed.
                let _ = clients.kv.put(request).await;
            }
        });
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        cluster.member_mut(round % 3).kill();
        cluster.member_mut(round % 3).restart().await;
        writes.abort();
    }
    cluster.converged().await;
}

/// Proves that a member that was away while authentication was enabled, and one that crashed just
/// after, hold what the others hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14571_enabling_authentication_leaves_the_members_equal() {
    let mut cluster = Cluster::start(subject!(), 3).await;
    cluster.member_mut(2).kill();
    let mut clients = cluster.clients(0);
    let user =
        AuthUserAddRequest { name: "root".into(), password: "r".into(), ..Default::default() };
    bounded(clients.auth.user_add(user)).await.expect("a user");
    let grant = AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    let _ = bounded(
        clients.auth.role_add(api::etcdserverpb::AuthRoleAddRequest { name: "root".into() }),
    )
    .await;
    bounded(clients.auth.user_grant_role(grant)).await.expect("a role");
    bounded(clients.auth.auth_enable(AuthEnableRequest {})).await.expect("authentication");
    cluster.member_mut(1).kill();
    cluster.member_mut(1).launch();
    cluster.member_mut(2).launch();
    let ask = AuthenticateRequest { name: "root".into(), password: "r".into() };
    let token = bounded(clients.auth.authenticate(ask)).await.expect("a token").into_inner().token;
    for count in 0..20 {
        let request =
            PutRequest { key: format!("k{count}").into(), value: "v".into(), ..Default::default() };
        let put = with_token(request, Some(&token));
        bounded(clients.kv.put(put)).await.expect("a put");
    }
    cluster.member_mut(1).wait_serving().await;
    cluster.member_mut(2).wait_serving().await;
    let mut hashes = Vec::new();
    for at in 0..3 {
        let mut member = cluster.clients(at);
        let ask = AuthenticateRequest { name: "root".into(), password: "r".into() };
        let token =
            bounded(member.auth.authenticate(ask)).await.expect("a token").into_inner().token;
        let read = api::etcdserverpb::RangeRequest { key: "k19".into(), ..Default::default() };
        let read = with_token(read, Some(&token));
        let found = bounded(member.kv.range(read)).await.expect("a read").into_inner();
        assert_eq!(found.count, 1, "m{}", at + 1);
        let request = with_token(HashKvRequest { revision: 0 }, Some(&token));
        let hash = bounded(member.maintenance.hash_kv(request)).await.expect("a hash");
        hashes.push(hash.into_inner().hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

/// Proves that a crash while it defragments costs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14685_a_crash_while_it_defragments_loses_nothing() {
    let mut server = Server::start(subject!(), &[]).await;
    for count in 0..200 {
        put(&server, &format!("k{count}"), &"v".repeat(1000)).await;
    }
    for pause_ms in [0, 2, 10] {
        let mut clients = server.clients();
        let defragment =
            tokio::spawn(async move { clients.maintenance.defragment(DefragmentRequest {}).await });
        tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
        server.kill();
        // It may have been faster.
        let _ = defragment.await;
        server.restart().await;
        assert_eq!(revision(&server).await, 201);
    }
}
