//! Users, roles, permissions, and whether they are enforced.
//!
//! A pure state: an operation changes it or is refused, with etcd's errors in etcd's order of
//! checks (`server/auth/store.go` of etcd 3.7). It must never hash or compare a password (the
//! hash comes in with the command), know of tokens, or ask who calls: whether a caller may change
//! users and roles is [`AuthState::check_admin`], which the caller of an operation asks first.
//!
//! Start with [`AuthState`]; `users.rs` and `roles.rs` change it, `check.rs` asks it, `ranges.rs`
//! is how a permission is compared with a request, `records.rs` how it is written down, `exchange.rs`
//! how another store has it.

mod check;
mod exchange;
mod ranges;
mod records;
mod roles;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;

use api::authpb::Permission;
use api::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse,
    AuthStatusResponse,
};
use bytes::Bytes;

use self::ranges::Ranges;
pub use self::records::{PREFIX, Record};
use crate::Error;

/// The user that must exist, and hold the role of the same name, before auth can be enabled.
pub const ROOT: &str = "root";

/// What a caller wants to do with a key or a range.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// All of auth. Cloning copies every user and role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthState {
    enabled: bool,
    /// Grows with every change but enabling; a fresh state has 1, as etcd's has.
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    /// Records changed since [`AuthState::take_changes`], in order.
    changes: Vec<(Bytes, Option<Bytes>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct User {
    /// Opaque here; empty if there is none.
    password_hash: String,
    no_password: bool,
    /// Sorted, each once.
    roles: Vec<String>,
    /// What the roles permit together. Derived: rebuilt whenever one of them changes.
    readable: Ranges,
    writable: Ranges,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Role {
    /// Sorted by key, those of one key in the order in which they were granted.
    permissions: Vec<Permission>,
}

impl Default for AuthState {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            changes: Vec::new(),
        }
    }
}

impl AuthState {
    /// Whether anything is enforced.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// The revision that tokens are issued under.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What `AuthStatus` answers.
    #[must_use]
    pub fn status(&self) -> AuthStatusResponse {
        AuthStatusResponse { header: None, enabled: self.enabled, auth_revision: self.revision }
    }

    /// Starts enforcing. Enabling what is enabled is no error; the revision stays in any case.
    ///
    /// # Errors
    /// [`Error::RootUserNotExist`], [`Error::RootRoleNotExist`].
    pub fn enable(&mut self, _: &AuthEnableRequest) -> Result<AuthEnableResponse, Error> {
        if !self.enabled {
            let root = self.users.get(ROOT).ok_or(Error::RootUserNotExist)?;
            if !root.is_root() {
                return Err(Error::RootRoleNotExist);
            }
            self.enabled = true;
            self.record_status();
        }
        Ok(AuthEnableResponse::default())
    }

    /// Stops enforcing. Disabling what is disabled changes nothing.
    pub fn disable(&mut self, _: &AuthDisableRequest) -> AuthDisableResponse {
        if self.enabled {
            self.enabled = false;
            self.bump_revision();
        }
        AuthDisableResponse::default()
    }

    fn bump_revision(&mut self) {
        self.revision += 1;
        self.record_status();
    }
}

impl User {
    fn is_root(&self) -> bool {
        self.has_role(ROOT)
    }

    fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|held| held.as_str().cmp(role)).is_ok()
    }
}
