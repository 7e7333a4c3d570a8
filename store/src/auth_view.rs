//! Auth as the server's edge sees it.

use std::ops::Deref;
use std::sync::Arc;

use crate::auth::AuthState;

/// Users, roles and permissions as they were when [`crate::Reader::auth`] was called: all of
/// [`AuthState`]'s questions can be asked of it.
#[derive(Clone)]
pub struct AuthView(pub(crate) Arc<AuthState>);

impl Deref for AuthView {
    type Target = AuthState;

    fn deref(&self) -> &AuthState {
        &self.0
    }
}
