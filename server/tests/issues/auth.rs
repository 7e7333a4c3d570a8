//! What a user may do, at members that came to know of it in different ways.

use std::path::{Path, PathBuf};

use api::authpb::{Permission, permission};
use api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, HashKvRequest, MemberAddRequest, PutRequest,
    RangeRequest,
};

use testkit::{
    Clients, Cluster, Kind, Member, Place, Script, Server, bounded, enable_auth, eventually,
    skipped, subject, with_token,
};
use tonic::{Code, Status};

use crate::steps::put;

/// Passwords are hashed slowly otherwise.
const FLAGS: &[&str] = &["--bcrypt-cost=4"];
const ROOT: (&str, &str) = ("root", "secret");
/// May read and write what begins with `a/`.
const USER: (&str, &str) = ("user", "word");
const CAUGHT_UP_S_MAX: u64 = 60;

/// Proves that a member which was away while authentication was enabled, and one that crashed just
/// after, let a user do what its role allows and nothing else, and hold what the others hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14571_enabling_authentication_leaves_the_members_equal() {
    let places = (0..3).map(|_| Place::loopback()).collect();
    let mut cluster = Cluster::start_with(subject!(), places, FLAGS).await;
    cluster.member_mut(2).kill();
    begin(&cluster.clients(0)).await;
    cluster.member_mut(1).kill();
    cluster.member_mut(1).launch();
    cluster.member_mut(2).launch();
    for at in 0..3 {
        cluster.member_mut(at).wait_serving().await;
        check_permissions(&cluster.clients(at)).await;
    }
    check_equal(&cluster).await;
}

/// Proves that a member which joins by a snapshot, with authentication enabled in it, has the
/// permissions of users too: what a user may not do is refused there, what it may do is done there as
/// at the other member, also after a crash of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_14571_permissions_are_there_on_a_member_that_joined_by_a_snapshot() {
    const NAME: &str = "etcd_14571_permissions_are_there_on_a_member_that_joined_by_a_snapshot";
    if subject!().kind == Kind::Etcd {
        return skipped(NAME, "it begins with a backup that berth restores");
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let backup = backup_with_users(folder.path()).await;
    let mut cluster = Cluster::prepare(subject!(), vec![Place::loopback()], FLAGS).await;
    // Its log begins behind the backup: whoever joins has to be sent a snapshot.
    restore(cluster.member(0), &backup).await;
    cluster.member_mut(0).restart().await;
    let joined = join(&mut cluster).await;
    let log = cluster.member(joined).log();
    assert!(log.contains("receiving a snapshot"), "the log reached back far enough");

    check_permissions(&cluster.clients(joined)).await;
    check_permissions(&cluster.clients(0)).await;
    check_equal(&cluster).await;
    cluster.member_mut(joined).kill();
    cluster.member_mut(joined).restart().await;
    check_permissions(&cluster.clients(joined)).await;
    check_equal(&cluster).await;
}

/// A server that has a key of the user's and one that it may not see, the user, and authentication.
async fn begin(clients: &Clients) {
    for key in ["a/0", "b/0"] {
        put(clients, key, "old").await;
    }
    let accepted = "the server takes users";
    let mut auth = clients.auth.clone();
    let (name, password) = (USER.0.to_owned(), USER.1.to_owned());
    let user = AuthUserAddRequest { name: name.clone(), password, ..Default::default() };
    bounded(auth.user_add(user)).await.expect(accepted);
    let role = "of a".to_owned();
    bounded(auth.role_add(AuthRoleAddRequest { name: role.clone() })).await.expect(accepted);
    let perm = Permission {
        perm_type: permission::Type::Readwrite.into(),
        key: "a/".into(),
        range_end: "a0".into(),
    };
    let grant = AuthRoleGrantPermissionRequest { name: role.clone(), perm: Some(perm) };
    bounded(auth.role_grant_permission(grant)).await.expect(accepted);
    let grant = AuthUserGrantRoleRequest { user: name, role };
    bounded(auth.user_grant_role(grant)).await.expect(accepted);
    enable_auth(clients).await;
}

async fn backup_with_users(folder: &Path) -> PathBuf {
    let server = Server::start(subject!(), FLAGS).await;
    begin(&server.clients()).await;
    let file = folder.join("backup");
    let path = file.display().to_string();
    let (endpoint, user) = (server.endpoint(), format!("--user={}:{}", ROOT.0, ROOT.1));
    run(&["ctl", &format!("--endpoints={endpoint}"), &user, "snapshot", "save", &path]).await;
    file
}

/// Makes the backup the data of a member that was never started.
async fn restore(member: &Member, backup: &Path) {
    let arguments = [
        "snapshot".to_owned(),
        "restore".to_owned(),
        backup.display().to_string(),
        format!("--name={}", member.name),
        format!("--data-dir={}", member.data_dir().display()),
        format!("--initial-cluster={}", member.birth.initial_cluster),
        format!("--initial-cluster-token={}", member.birth.token),
        format!("--initial-advertise-peer-urls={}", member.place.advertised_peer_url()),
    ];
    run(&arguments.each_ref().map(String::as_str)).await;
}

/// Runs berth with these arguments.
async fn run(arguments: &[&str]) {
    let done = Script::new(&subject!().path, arguments).run().await;
    assert_eq!(done.code, Some(0), "{done:?}");
}

/// Another member of the cluster, which has caught up.
async fn join(cluster: &mut Cluster) -> usize {
    let place = Place::loopback();
    let mut first = cluster.clients(0);
    let token = token(&first, ROOT).await;
    let peer_urls = vec![place.advertised_peer_url()];
    let request = MemberAddRequest { peer_urls, is_learner: false };
    let added = bounded(first.cluster.member_add(with_token(request, Some(&token)))).await;
    added.expect("a member can be added");
    let at = cluster.join(place, &[]);
    cluster.member_mut(at).restart().await;
    at
}

async fn token(clients: &Clients, (name, password): (&str, &str)) -> String {
    let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    let answer = bounded(clients.auth.clone().authenticate(request)).await;
    answer.expect("a token").into_inner().token
}

/// The user reads and writes its own keys at this member, and no others.
async fn check_permissions(clients: &Clients) {
    let token = token(clients, USER).await;
    let get = async |key: &'static str, serializable| {
        let request = RangeRequest { key: key.into(), serializable, ..Default::default() };
        let answer = bounded(clients.kv.clone().range(with_token(request, Some(&token)))).await;
        answer.map(|answer| answer.into_inner().count)
    };
    let write = async |key: &'static str| {
        let request = PutRequest { key: key.into(), value: "new".into(), ..Default::default() };
        bounded(clients.kv.clone().put(with_token(request, Some(&token)))).await.map(drop)
    };
    for serializable in [false, true] {
        assert_eq!(get("a/0", serializable).await.expect("its own key"), 1);
        assert_denied(get("b/0", serializable).await);
    }
    write("a/1").await.expect("its own key");
    assert_denied(write("b/1").await);
    assert_eq!(get("a/1", false).await.expect("its own key"), 1);
}

fn assert_denied<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let refusal = answer.expect_err("it is not the user's key");
    let denied = (Code::PermissionDenied, "etcdserver: permission denied");
    assert_eq!((refusal.code(), refusal.message()), denied);
}

/// All members hold the same at the revision that the first one has.
async fn check_equal(cluster: &Cluster) {
    let (revision, _) = hash(cluster, 0, 0).await.expect("a member knows its hash");
    let (_, first) = hash(cluster, 0, revision).await.expect("its own revision");
    for at in 1..cluster.len() {
        let what = format!("m{} has r{revision}", at + 1);
        let known = async || hash(cluster, at, revision).await;
        let (_, other) = eventually(&what, CAUGHT_UP_S_MAX, known).await;
        assert_eq!(other, first, "m{} differs at r{revision}", at + 1);
    }
}

/// The member's revision, and its hash at `revision` (0: at its own).
async fn hash(cluster: &Cluster, at: usize, revision: i64) -> Result<(i64, u32), String> {
    let mut clients = cluster.clients(at);
    let token = token(&clients, ROOT).await;
    let request = with_token(HashKvRequest { revision }, Some(&token));
    let hash = bounded(clients.maintenance.hash_kv(request)).await;
    let hash = hash.map_err(|refusal| refusal.to_string())?.into_inner();
    Ok((hash.header.map_or(0, |header| header.revision), hash.hash))
}
