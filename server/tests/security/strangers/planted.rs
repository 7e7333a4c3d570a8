//! A server with auth on, full of things that a stranger must not see.

use api::authpb::{Permission, permission};
use api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
    AuthRoleListRequest, AuthStatusRequest, AuthUserAddRequest, AuthUserGetRequest,
    AuthUserGrantRoleRequest, AuthUserListRequest, AuthenticateRequest, LeaseGrantRequest,
    LeaseLeasesRequest, MemberListRequest, PutRequest, RangeRequest,
};
use prost::Message;
use testkit::{Program, Server, bounded, with_token};

pub(crate) const KEY: &str = "planted/key";
pub(crate) const VALUE: &str = "planted value";
pub(crate) const USER: &str = "planted-user";
pub(crate) const ROLE: &str = "planted-role";
pub(crate) const PASSWORD: &str = "planted password";
/// Of the key, and of no key.
pub(crate) const LEASES: [i64; 2] = [7_361_946_213_580, 7_361_946_213_581];

/// What all names begin with, and what it is in base64.
const MARKS: [&str; 2] = ["planted", "cGxhbnRl"];

pub(crate) struct Planted {
    pub(crate) server: Server,
    /// Of root.
    pub(crate) token: String,
}

impl Planted {
    pub(crate) async fn new(program: Program) -> Self {
        Self::with_flags(program, &[]).await
    }

    pub(crate) async fn with_flags(program: Program, flags: &[&str]) -> Self {
        let server = Server::start(program, &[flags, &["--bcrypt-cost=4"]].concat()).await;
        plant(&server).await;
        let (name, password) = ("root".to_owned(), PASSWORD.to_owned());
        let login = AuthenticateRequest { name, password };
        let answer = bounded(server.clients().auth.authenticate(login)).await.unwrap();
        Self { token: answer.into_inner().token, server }
    }

    /// What of it is in `bytes`.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|part| part == wanted);
        let texts = MARKS.iter().map(ToString::to_string);
        // Hashes of passwords begin with `$2`.
        let mut texts = texts.chain([self.token.clone(), "$2a$".to_owned(), "$2b$".to_owned()]);
        if let Some(text) = texts.find(|text| has(text.as_bytes())) {
            return Some(text);
        }
        let lease = LEASES.into_iter().find(|id| {
            let encoded = LeaseGrantRequest { id: *id, ttl: 0 }.encode_to_vec();
            // Behind the number of the field comes the id as messages have it.
            has(&encoded[1..])
                || has(id.to_string().as_bytes())
                || has(format!("{id:x}").as_bytes())
        });
        lease.map(|id| format!("lease {id}"))
    }

    /// All that a stranger could have changed, as root sees it.
    pub(crate) async fn contents(&self) -> Vec<String> {
        let mut clients = self.server.clients();
        let token = Some(self.token.as_str());
        let all = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            ..RangeRequest::default()
        };
        let keys = bounded(clients.kv.range(with_token(all, token))).await.unwrap().into_inner();
        let mut leases =
            bounded(clients.lease.lease_leases(with_token(LeaseLeasesRequest {}, token)))
                .await
                .unwrap()
                .into_inner()
                .leases;
        leases.sort_by_key(|lease| lease.id);
        let list = with_token(MemberListRequest::default(), token);
        let members = bounded(clients.cluster.member_list(list)).await.unwrap().into_inner();
        let mut contents = vec![
            format!("revision {}", keys.header.unwrap().revision),
            format!("{:?}", keys.kvs),
            format!("{leases:?}"),
            format!("{:?}", members.members),
        ];
        let auth = &mut clients.auth;
        let status = auth.auth_status(with_token(AuthStatusRequest {}, token)).await.unwrap();
        let status = status.into_inner();
        contents.push(format!("{} {}", status.enabled, status.auth_revision));
        let users = auth.user_list(with_token(AuthUserListRequest {}, token)).await.unwrap();
        for name in users.into_inner().users {
            let get = with_token(AuthUserGetRequest { name: name.clone() }, token);
            let roles = auth.user_get(get).await.unwrap().into_inner().roles;
            contents.push(format!("{name} {roles:?}"));
        }
        let roles = auth.role_list(with_token(AuthRoleListRequest {}, token)).await.unwrap();
        for role in roles.into_inner().roles {
            let get = with_token(AuthRoleGetRequest { role: role.clone() }, token);
            let perms = auth.role_get(get).await.unwrap().into_inner().perm;
            contents.push(format!("{role} {perms:?}"));
        }
        contents
    }
}

async fn plant(server: &Server) {
    let mut clients = server.clients();
    for id in LEASES {
        let grant = LeaseGrantRequest { id, ttl: 3_600 };
        bounded(clients.lease.lease_grant(grant)).await.unwrap();
    }
    let put = PutRequest {
        key: KEY.into(),
        value: VALUE.into(),
        lease: LEASES[0],
        ..PutRequest::default()
    };
    bounded(clients.kv.put(put)).await.unwrap();
    let auth = &mut clients.auth;
    for (user, role) in [("root", "root"), (USER, ROLE)] {
        let (name, password) = (user.to_owned(), PASSWORD.to_owned());
        let add = AuthUserAddRequest { name, password, ..AuthUserAddRequest::default() };
        auth.user_add(add).await.unwrap();
        auth.role_add(AuthRoleAddRequest { name: role.to_owned() }).await.unwrap();
        let grant = AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
        auth.user_grant_role(grant).await.unwrap();
    }
    let perm_type = permission::Type::Readwrite as i32;
    let perm = Permission { perm_type, key: KEY.into(), range_end: "".into() };
    let grant = AuthRoleGrantPermissionRequest { name: ROLE.to_owned(), perm: Some(perm) };
    auth.role_grant_permission(grant).await.unwrap();
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
}
