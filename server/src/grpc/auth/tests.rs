use tonic::Code;
use tonic::metadata::MetadataMap;

use super::*;
use crate::grpc::testing::{Home, home};

/// A service with auth on, `root` with password `r` and `ann` with password `a`.
struct Fixture {
    auth: Auth,
    root: MetadataMap,
    _home: Home,
}

impl Fixture {
    async fn start() -> Self {
        let home = home(None).await;
        let auth = Auth { context: home.context.clone() };
        for (name, password) in [("root", "r"), ("ann", "a")] {
            auth.user_add(Request::new(user(name, password))).await.unwrap();
        }
        let grant = AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
        auth.user_grant_role(Request::new(grant)).await.unwrap();
        auth.auth_enable(Request::new(AuthEnableRequest {})).await.unwrap();
        let mut fixture = Self { auth, root: MetadataMap::new(), _home: home };
        fixture.root = fixture.login("root", "r").await.unwrap();
        fixture
    }

    /// Metadata with a new token.
    async fn login(&self, name: &str, password: &str) -> Result<MetadataMap, Status> {
        let (name, password) = (name.to_owned(), password.to_owned());
        let request = Request::new(AuthenticateRequest { name, password });
        let token = self.auth.authenticate(request).await?.into_inner().token;
        let mut metadata = MetadataMap::new();
        metadata.insert("token", token.parse().unwrap());
        Ok(metadata)
    }

    fn as_root<T>(&self, message: T) -> Request<T> {
        Request::from_parts(self.root.clone(), Default::default(), message)
    }

    fn who(&self, metadata: &MetadataMap) -> Result<Option<String>, Error> {
        let principal = self.auth.context.authenticate(metadata)?;
        Ok(principal.map(|principal| principal.user))
    }
}

fn user(name: &str, password: &str) -> AuthUserAddRequest {
    let (name, password) = (name.to_owned(), password.to_owned());
    AuthUserAddRequest { name, password, ..Default::default() }
}

#[test]
fn a_clients_hash_is_base64() {
    // Shows what is taken from clients that hash themselves.
    assert_eq!(client_hash("JDJhJDEw").as_deref(), Ok("$2a$10"));
    assert_eq!(client_hash("").as_deref(), Ok(""));
    assert_eq!(client_hash("%"), Err(Error::NoPasswordUser));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_calls() {
    // Shows both places of a token, and what a wrong one and none at all are.
    let fixture = Fixture::start().await;
    let ann = fixture.login("ann", "a").await.unwrap();
    assert_eq!(fixture.who(&ann).unwrap().as_deref(), Some("ann"));
    let mut bearer = MetadataMap::new();
    let token = ann.get("token").unwrap().to_str().unwrap();
    bearer.insert("authorization", format!("Bearer {token}").parse().unwrap());
    assert_eq!(fixture.who(&bearer).unwrap().as_deref(), Some("ann"));
    assert_eq!(fixture.who(&MetadataMap::new()), Ok(None));
    bearer.insert("token", "nonsense".parse().unwrap());
    assert_eq!(fixture.who(&bearer), Err(Error::InvalidAuthToken));
    let wrong = fixture.login("ann", "b").await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("authentication failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_root_manages_users() {
    // Shows that nobody, and nobody but root, gets past the edge with a password to hash.
    let fixture = Fixture::start().await;
    let nobody = Request::new(user("zoe", "z"));
    let refused = fixture.auth.user_add(nobody).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: user name is empty");
    let ann = fixture.login("ann", "a").await.unwrap();
    let request = Request::from_parts(ann, Default::default(), user("zoe", "z"));
    let refused = fixture.auth.user_add(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    fixture.auth.user_add(fixture.as_root(user("zoe", "z"))).await.unwrap();
    fixture.login("zoe", "z").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_the_tokens_of_the_old_one() {
    // Shows that neither an old token nor the old password opens anything any more.
    let fixture = Fixture::start().await;
    let old = fixture.login("ann", "a").await.unwrap();
    let change = AuthUserChangePasswordRequest {
        name: "ann".into(),
        password: "b".into(),
        ..Default::default()
    };
    fixture.auth.user_change_password(fixture.as_root(change)).await.unwrap();
    assert_eq!(fixture.who(&old), Err(Error::InvalidAuthToken));
    assert!(fixture.login("ann", "a").await.is_err());
    fixture.login("ann", "b").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_auth_off_ends_all_tokens() {
    // Shows that a token does not come back with auth.
    let fixture = Fixture::start().await;
    fixture.auth.auth_disable(fixture.as_root(AuthDisableRequest {})).await.unwrap();
    assert_eq!(fixture.who(&fixture.root), Ok(None));
    let refused = fixture.login("ann", "a").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: authentication is not enabled");
    fixture.auth.auth_enable(Request::new(AuthEnableRequest {})).await.unwrap();
    assert_eq!(fixture.who(&fixture.root), Err(Error::InvalidAuthToken));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_stored_is_a_password() {
    // Shows that the store holds hashes, none for a user without a password, and what such a user
    // is told.
    let fixture = Fixture::start().await;
    let options = Some(api::authpb::UserAddOptions { no_password: true });
    let cert = AuthUserAddRequest { options, ..user("cert", "ignored") };
    fixture.auth.user_add(fixture.as_root(cert)).await.unwrap();
    let view = fixture.auth.context.node().reader().auth();
    assert!(view.password_hash("ann").unwrap().starts_with("$2"));
    assert_eq!(view.password_hash("cert"), Some(""));
    let refused = fixture.login("cert", "ignored").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unknown);
}
