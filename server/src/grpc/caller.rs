//! Who calls.

use api::berthpb::Principal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use tonic::metadata::MetadataMap;

use super::Context;
use super::errors::Error;

/// Where clients put the token; the second name is what HTTP gateways pass on.
const TOKEN_KEYS: [&str; 2] = ["token", "authorization"];

/// Where a service finds the common name of the connection's certificate. [`mark`] alone writes it.
const COMMON_NAME_KEY: &str = "berth-common-name";
/// What etcd's JSON gateway adds to the calls that it makes: its certificate is nobody's.
const GATEWAY_KEY: &str = "grpcgateway-accept";

/// The common name of the certificate that a connection was opened with: an extension of its
/// requests. Whoever calls services for others (a gateway) must leave it out.
#[derive(Clone, Debug)]
pub struct CommonName(HeaderValue);

impl CommonName {
    pub fn new(name: &str) -> Self {
        let value = HeaderValue::from_str(&STANDARD.encode(name));
        Self(value.expect("base64 is made of what a header may hold"))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Puts the common name of the connection's certificate, and nobody else's word, where
/// [`Context::authenticate`] looks for it.
pub(super) fn mark<B>(request: &mut http::Request<B>) {
    let name = request.extensions_mut().remove::<CommonName>();
    let headers = request.headers_mut();
    headers.remove(COMMON_NAME_KEY);
    if let Some(CommonName(value)) = name.filter(|_| !headers.contains_key(GATEWAY_KEY)) {
        headers.insert(COMMON_NAME_KEY, value);
    }
}

/// The token of a call, if it has one; `Some(None)` for one that is no text.
fn token(headers: &HeaderMap) -> Option<Option<&str>> {
    let value = TOKEN_KEYS.iter().find_map(|key| headers.get(*key))?;
    let text = value.to_str().ok();
    Some(text.map(|text| text.strip_prefix("Bearer ").unwrap_or(text)))
}

fn common_name(metadata: &MetadataMap) -> Option<String> {
    let value = metadata.get(COMMON_NAME_KEY)?;
    String::from_utf8(STANDARD.decode(value.as_encoded_bytes()).ok()?).ok()
}

impl Context {
    /// The user behind a call: the token's, else the certificate's. `None` while auth is off, and
    /// for a call with neither: whether that may go on is for the checks that follow, and so is
    /// whether there is such a user.
    ///
    /// # Errors
    /// [`Error::InvalidAuthToken`].
    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Option<Principal>, Error> {
        let auth = self.node().reader().auth();
        if !auth.enabled() {
            return Ok(None);
        }
        let Some(value) = token(metadata.as_ref()) else {
            let user = common_name(metadata);
            return Ok(user.map(|user| Principal { user, auth_revision: auth.revision() }));
        };
        let token = value.ok_or(Error::InvalidAuthToken)?;
        let principal = self.tokens().principal(token, auth.revision());
        principal.map(Some).ok_or(Error::InvalidAuthToken)
    }

    /// Before a call is served: waits for what this member has to learn of its token.
    pub(super) async fn know_token(&self, headers: &HeaderMap) {
        if let Some(Some(token)) = token(headers)
            && self.node().reader().auth().enabled()
        {
            self.tokens().catch_up(token, || self.node().reader().position().index).await;
        }
    }

    /// For calls that anybody may make who has authenticated.
    ///
    /// # Errors
    /// `user name is empty` without a token or certificate, [`Error::InvalidAuthToken`].
    pub fn require_user(&self, metadata: &MetadataMap) -> Result<Option<Principal>, Error> {
        let principal = self.authenticate(metadata)?;
        if principal.is_none() && self.node().reader().auth().enabled() {
            return Err(store::Error::UserEmpty.into());
        }
        Ok(principal)
    }

    /// For calls that only the role `root` may make.
    ///
    /// # Errors
    /// Those of [`Context::authenticate`] and of [`store::auth::AuthState::check_admin`].
    pub fn require_admin(&self, metadata: &MetadataMap) -> Result<Option<Principal>, Error> {
        let principal = self.authenticate(metadata)?;
        self.node().reader().auth().check_admin(principal.as_ref())?;
        Ok(principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: Option<&str>, header: Option<(&'static str, &str)>) -> Option<String> {
        let mut request = http::Request::new(());
        if let Some(name) = name {
            request.extensions_mut().insert(CommonName::new(name));
        }
        if let Some((key, value)) = header {
            request.headers_mut().insert(key, value.parse().unwrap());
        }
        mark(&mut request);
        common_name(&MetadataMap::from_headers(request.headers().clone()))
    }

    #[test]
    fn only_the_certificate_names_the_user() {
        // Shows that the name arrives whole, that a client cannot say it itself, with a certificate
        // or without, and that a gateway's certificate is nobody's.
        assert_eq!(found(Some("ann"), None).as_deref(), Some("ann"));
        assert_eq!(found(Some("añn\n"), None).as_deref(), Some("añn\n"));
        let forged = Some((COMMON_NAME_KEY, "cm9vdA=="));
        assert_eq!(found(None, forged), None);
        assert_eq!(found(Some("ann"), forged).as_deref(), Some("ann"));
        assert_eq!(found(Some("ann"), Some((GATEWAY_KEY, "application/json"))), None);
    }
}
