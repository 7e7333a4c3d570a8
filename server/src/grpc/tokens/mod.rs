//! Tokens: what a user gets for a password, and shows with every call.
//!
//! Two kinds, as in etcd: simple ones, which members remember ([`simple`]), and JSON web tokens,
//! which are signed ([`jwt`]). Invariant: no token is ever written to the log for people.

mod jwt;
mod jwt_crypto;
mod jwt_keys;
mod simple;

use std::sync::Arc;
use std::time::Instant;

use api::berthpb::Principal;
use raft::AppliedObserver;

use crate::config::AuthToken;
use jwt::Jwt;
pub(super) use jwt::VerifyOnly;
use simple::Simple;

/// All that is needed to give and to check tokens. Clones share it.
#[derive(Clone)]
pub struct Tokens(Kind);

#[derive(Clone)]
enum Kind {
    Simple(Arc<Simple>),
    Jwt(Arc<Jwt>),
}

/// How a token comes to be.
pub(super) enum Issue<'a> {
    /// The log makes it: every member must learn it.
    Replicated { prefix: String },
    /// This member makes it alone.
    Signed(&'a Jwt),
}

impl Tokens {
    /// # Errors
    /// One line that names the key file that is missing or wrong.
    pub fn open(settings: &AuthToken) -> Result<Self, String> {
        Ok(Self(match settings {
            AuthToken::Simple { ttl } => Kind::Simple(Arc::new(Simple::new(*ttl))),
            AuthToken::Jwt(settings) => Kind::Jwt(Arc::new(Jwt::open(settings)?)),
        }))
    }

    /// Whom the node must tell what it applies, before the first entry.
    pub fn observer(&self) -> Option<AppliedObserver> {
        match &self.0 {
            Kind::Simple(simple) => Some(AppliedObserver(simple.clone())),
            Kind::Jwt(_) => None,
        }
    }

    /// For a user who has just shown the password.
    pub(super) fn issue(&self) -> Issue<'_> {
        match &self.0 {
            Kind::Simple(_) => Issue::Replicated { prefix: simple::prefix() },
            Kind::Jwt(jwt) => Issue::Signed(jwt),
        }
    }

    /// Whose token it is, if it counts. A simple one stands for the user as they are now, at
    /// `auth_revision`; a signed one for the user as they were when it was signed.
    pub(super) fn principal(&self, token: &str, auth_revision: u64) -> Option<Principal> {
        match &self.0 {
            Kind::Simple(simple) => {
                let user = simple.user(token, Instant::now())?;
                Some(Principal { user, auth_revision })
            }
            Kind::Jwt(jwt) => jwt.principal(token),
        }
    }

    /// Returns when this member should know `token` if it is any good: another may have given it
    /// a moment ago. `applied` is how far the log is applied, asked anew each time. Cancel safe.
    pub(super) async fn catch_up(&self, token: &str, applied: impl Fn() -> u64) {
        if let Kind::Simple(simple) = &self.0 {
            simple.catch_up(token, applied).await;
        }
    }
}
