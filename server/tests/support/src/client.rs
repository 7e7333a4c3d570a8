//! Typed gRPC clients of one server.

use std::time::Duration;

use api::etcdserverpb::auth_client::AuthClient;
use api::etcdserverpb::cluster_client::ClusterClient;
use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::lease_client::LeaseClient;
use api::etcdserverpb::maintenance_client::MaintenanceClient;
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    RangeRequest,
};
use api::v3electionpb::election_client::ElectionClient;
use api::v3lockpb::lock_client::LockClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Longer than any answer takes; a call that hangs must fail its test.
const CALL_S_MAX: u64 = 60;
/// Answers may be larger than tonic's default of 4 MiB.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One client per etcd service, over one connection.
#[derive(Clone, Debug)]
pub struct Clients {
    pub kv: KvClient<Channel>,
    pub watch: WatchClient<Channel>,
    pub lease: LeaseClient<Channel>,
    pub cluster: ClusterClient<Channel>,
    pub maintenance: MaintenanceClient<Channel>,
    pub auth: AuthClient<Channel>,
    pub lock: LockClient<Channel>,
    pub election: ElectionClient<Channel>,
}

/// Clients of the server at `endpoint` (`http://127.0.0.1:PORT`); connects on first use.
pub fn connect(endpoint: &str) -> Clients {
    let channel = Endpoint::from_shared(endpoint.to_owned())
        .expect("an endpoint is a URL")
        .connect_timeout(Duration::from_secs(5))
        .connect_lazy();
    Clients {
        kv: KvClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        watch: WatchClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        lease: LeaseClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
        cluster: ClusterClient::new(channel.clone()),
        maintenance: MaintenanceClient::new(channel.clone()),
        auth: AuthClient::new(channel.clone()),
        lock: LockClient::new(channel.clone()),
        election: ElectionClient::new(channel),
    }
}

/// A request that carries the caller's token, if it has one.
pub fn with_token<T>(message: T, token: Option<&str>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        let value = token.parse().expect("a token is printable ASCII");
        request.metadata_mut().insert("token", value);
    }
    request
}

/// Fails the test when `call` takes longer than any sane answer.
///
/// The deadline stays on this side (no `grpc-timeout`), so that it never changes what a server
/// does.
pub async fn bounded<F: Future>(call: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(CALL_S_MAX), call)
        .await
        .unwrap_or_else(|_| panic!("no answer after {CALL_S_MAX} s"))
}

/// Whether the server at `endpoint` answers a linearizable read, be it with a refusal of its own.
pub(crate) async fn serves(endpoint: &str) -> bool {
    let probe = RangeRequest { key: "ready".into(), ..Default::default() };
    let mut kv = connect(endpoint).kv;
    let answer = tokio::time::timeout(Duration::from_secs(5), kv.range(probe)).await;
    match answer {
        Ok(Ok(_)) => true,
        Ok(Err(refusal)) => !matches!(
            refusal.code(),
            Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled
        ),
        Err(_) => false,
    }
}

/// Turns auth on, with the user `root` whose password is `secret`.
///
/// # Panics
/// When the server refuses a step, or does not answer.
pub async fn enable_auth(clients: &Clients) {
    let (name, password) = ("root".to_owned(), "secret".to_owned());
    let mut auth = clients.auth.clone();
    let accepted = "the server takes users";
    let user = AuthUserAddRequest { name: name.clone(), password, ..Default::default() };
    bounded(auth.user_add(user)).await.expect(accepted);
    bounded(auth.role_add(AuthRoleAddRequest { name: name.clone() })).await.expect(accepted);
    let grant = AuthUserGrantRoleRequest { user: name.clone(), role: name };
    bounded(auth.user_grant_role(grant)).await.expect(accepted);
    bounded(auth.auth_enable(AuthEnableRequest {})).await.expect(accepted);
}
