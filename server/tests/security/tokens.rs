//! Users who authenticate, and simple tokens.

use api::authpb::{Permission, permission};
use api::etcdserverpb::{
    AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthenticateRequest, PutRequest, RangeRequest,
    StatusRequest, WatchCreateRequest, WatchRequest, watch_request,
};
use testkit::{Clients, Program, Server, bounded, with_token};
use tonic::Status;

use crate::server::berth;

/// Done, or the code and words of the refusal.
pub(crate) type Said = Result<(), String>;

fn said<T>(answer: Result<T, Status>) -> Result<T, String> {
    answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))
}

/// Users of one server: `root`, and `ann` who may read and write `k`.
pub(crate) struct Users {
    clients: Clients,
}

impl Users {
    pub(crate) fn new(server: &Server) -> Self {
        Self { clients: server.clients() }
    }

    pub(crate) fn at(endpoint: &str) -> Self {
        Self { clients: testkit::connect(endpoint) }
    }

    /// Makes them and turns auth on.
    pub(crate) async fn enable(&mut self) {
        let auth = &mut self.clients.auth;
        for (name, role) in [("root", "root"), ("ann", "r")] {
            let (name, password) = (name.to_owned(), format!("{name}pw"));
            let user = AuthUserAddRequest {
                name: name.clone(),
                password,
                ..AuthUserAddRequest::default()
            };
            auth.user_add(user).await.unwrap();
            auth.role_add(AuthRoleAddRequest { name: role.into() }).await.unwrap();
            let grant = AuthUserGrantRoleRequest { user: name, role: role.into() };
            auth.user_grant_role(grant).await.unwrap();
        }
        let key = "k".into();
        let perm_type = permission::Type::Readwrite as i32;
        let perm = Some(Permission { perm_type, key, range_end: "".into() });
        let grant = AuthRoleGrantPermissionRequest { name: "r".into(), perm };
        auth.role_grant_permission(grant).await.unwrap();
        auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    }

    pub(crate) async fn token(&mut self, name: &str, password: &str) -> Result<String, String> {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let answer = bounded(self.clients.auth.authenticate(request)).await;
        said(answer).map(|answer| answer.into_inner().token)
    }

    pub(crate) async fn put(&mut self, key: &str, token: &str) -> Said {
        let put = PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
        said(bounded(self.clients.kv.put(with_token(put, Some(token)))).await).map(drop)
    }

    pub(crate) async fn get(&mut self, key: &str, token: Option<&str>) -> Said {
        let get = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        said(bounded(self.clients.kv.range(with_token(get, token))).await).map(drop)
    }

    /// Opens a watch; the reason if it is cancelled at once.
    pub(crate) async fn watch(&mut self, key: &str, token: &str) -> Said {
        let create =
            WatchCreateRequest { key: key.to_owned().into(), ..WatchCreateRequest::default() };
        let union = Some(watch_request::RequestUnion::CreateRequest(create));
        let requests = tokio_stream::iter([WatchRequest { request_union: union }]);
        let opened = self.clients.watch.watch(with_token(requests, Some(token))).await;
        let first = said(bounded(said(opened)?.into_inner().message()).await)?;
        match first {
            Some(answer) if answer.canceled => Err(answer.cancel_reason),
            _ => Ok(()),
        }
    }

    pub(crate) async fn leads(&mut self, token: &str) -> bool {
        let request = with_token(StatusRequest {}, Some(token));
        let status = bounded(self.clients.maintenance.status(request)).await.unwrap();
        let status = status.into_inner();
        status.header.unwrap().member_id == status.leader
    }

    pub(crate) async fn list(&mut self, token: &str) -> Said {
        let request = with_token(AuthUserListRequest {}, Some(token));
        said(bounded(self.clients.auth.user_list(request)).await).map(drop)
    }

    pub(crate) async fn add_role(&mut self, role: &str, token: &str) -> Said {
        let request = with_token(AuthRoleAddRequest { name: role.into() }, Some(token));
        said(bounded(self.clients.auth.role_add(request)).await).map(drop)
    }

    pub(crate) async fn disable(&mut self, token: &str) -> Said {
        let request = with_token(AuthDisableRequest {}, Some(token));
        said(bounded(self.clients.auth.auth_disable(request)).await).map(drop)
    }

    pub(crate) async fn change_password(
        &mut self,
        name: &str,
        password: &str,
        token: &str,
    ) -> Said {
        let request = AuthUserChangePasswordRequest {
            name: name.into(),
            password: password.into(),
            ..AuthUserChangePasswordRequest::default()
        };
        let request = with_token(request, Some(token));
        said(bounded(self.clients.auth.user_change_password(request)).await).map(drop)
    }

    async fn delete(&mut self, name: &str, token: &str) -> Said {
        let request = with_token(AuthUserDeleteRequest { name: name.into() }, Some(token));
        said(bounded(self.clients.auth.user_delete(request)).await).map(drop)
    }

    async fn enable_again(&mut self) -> Said {
        said(bounded(self.clients.auth.auth_enable(AuthEnableRequest {})).await).map(drop)
    }
}

async fn transcript(program: Program) -> Vec<(&'static str, Said)> {
    let server = Server::start(program, &["--bcrypt-cost=4"]).await;
    let mut users = Users::new(&server);
    users.enable().await;
    let root = users.token("root", "rootpw").await.unwrap();
    let ann = users.token("ann", "annpw").await.unwrap();
    let mut said = vec![
        ("forged", users.put("k", "AAAAAAAAAAAAAAAA.1").await),
        ("no token of etcd's", users.put("k", "nonsense").await),
        ("a change of permissions", users.add_role("another", &root).await),
        ("a token from before", users.put("k", &ann).await),
        ("another key", users.put("other", &ann).await),
        ("a watch", users.watch("k", &ann).await),
        ("a new password", users.change_password("ann", "new", &root).await),
        ("a token of the old one", users.put("k", &ann).await),
        ("root's token stays", users.list(&root).await),
        ("the old password", users.token("ann", "annpw").await.map(drop)),
    ];
    let ann = users.token("ann", "new").await.unwrap();
    said.push(("a token of the new one", users.put("k", &ann).await));
    said.push(("deleted", users.delete("ann", &root).await));
    said.push(("a token of nobody", users.put("k", &ann).await));
    said.push(("off", users.disable(&root).await));
    said.push(("no password while off", users.token("root", "rootpw").await.map(drop)));
    said.push(("on", users.enable_again().await));
    said.push(("a token from before it was off", users.list(&root).await));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn simple_tokens_live_and_end_as_etcds() {
    // Shows each thing that ends a token and each that does not, in etcd's words.
    assert_eq!(transcript(berth()).await, transcript(Program::etcd()).await);
}
