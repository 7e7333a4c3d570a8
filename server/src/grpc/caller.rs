//! Who calls.

use std::time::Instant;

use api::berthpb::Principal;
use tonic::metadata::MetadataMap;

use super::Context;
use super::errors::Error;

/// Where clients put the token; the second name is what HTTP gateways pass on.
const TOKEN_KEYS: [&str; 2] = ["token", "authorization"];

impl Context {
    /// The user behind a call; `None` while auth is off, and for a call without a token: whether
    /// that may go on is for the checks that follow.
    ///
    /// # Errors
    /// [`Error::InvalidAuthToken`].
    pub fn authenticate(&self, metadata: &MetadataMap) -> Result<Option<Principal>, Error> {
        let auth = self.node().reader().auth();
        if !auth.enabled() {
            // Turning auth off ends all tokens.
            self.tokens().clear();
            return Ok(None);
        }
        let Some(value) = TOKEN_KEYS.iter().find_map(|key| metadata.get(*key)) else {
            return Ok(None);
        };
        let token = value.to_str().map_err(|_| Error::InvalidAuthToken)?;
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let hash_now = |user: &str| auth.password_hash(user).map(str::to_owned);
        let user = self.tokens().user(token, Instant::now(), hash_now);
        let user = user.ok_or(Error::InvalidAuthToken)?;
        Ok(Some(Principal { user, auth_revision: auth.revision() }))
    }

    /// For calls that anybody may make who has authenticated.
    ///
    /// # Errors
    /// `user name is empty` without a token, [`Error::InvalidAuthToken`].
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
