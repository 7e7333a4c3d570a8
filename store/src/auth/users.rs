//! Users: adding, deleting, passwords, and the roles that they hold.

use std::collections::BTreeMap;

use api::authpb::permission::Type;
use api::etcdserverpb::{
    AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse, AuthUserDeleteRequest, AuthUserDeleteResponse,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserGrantRoleResponse,
    AuthUserListResponse, AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse,
};

use super::ranges::Ranges;
use super::{AuthState, ROOT, Role, User};
use crate::Error;

impl AuthState {
    /// Adds a user without roles. `hashed_password` is kept as it comes; `password` is ignored.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::UserExists`].
    pub fn user_add(&mut self, request: &AuthUserAddRequest) -> Result<AuthUserAddResponse, Error> {
        if request.name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(&request.name) {
            return Err(Error::UserExists);
        }
        let no_password = request.options.as_ref().is_some_and(|options| options.no_password);
        let password_hash = hash_of(&request.hashed_password, no_password);
        self.put_user(&request.name, User { password_hash, no_password, ..User::default() });
        self.bump_revision();
        Ok(AuthUserAddResponse::default())
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// [`Error::InvalidAuthManagement`] for `root` while auth is enabled; [`Error::UserNotFound`].
    pub fn user_delete(
        &mut self,
        request: &AuthUserDeleteRequest,
    ) -> Result<AuthUserDeleteResponse, Error> {
        if self.enabled && request.name == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        if self.users.remove(&request.name).is_none() {
            return Err(Error::UserNotFound);
        }
        self.record_user(&request.name);
        self.bump_revision();
        Ok(AuthUserDeleteResponse::default())
    }

    /// Replaces the password. A user without one stays without.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub fn user_change_password(
        &mut self,
        request: &AuthUserChangePasswordRequest,
    ) -> Result<AuthUserChangePasswordResponse, Error> {
        let user = self.users.get_mut(&request.name).ok_or(Error::UserNotFound)?;
        user.password_hash = hash_of(&request.hashed_password, user.no_password);
        self.record_user(&request.name);
        self.bump_revision();
        Ok(AuthUserChangePasswordResponse::default())
    }

    /// Gives a user a role. The role `root` need not exist. Granting a role twice changes nothing.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::RoleNotFound`].
    pub fn user_grant_role(
        &mut self,
        request: &AuthUserGrantRoleRequest,
    ) -> Result<AuthUserGrantRoleResponse, Error> {
        let user = self.users.get(&request.user).ok_or(Error::UserNotFound)?;
        if request.role != ROOT && !self.roles.contains_key(&request.role) {
            return Err(Error::RoleNotFound);
        }
        if let Err(place) = user.roles.binary_search(&request.role) {
            let mut user = user.clone();
            user.roles.insert(place, request.role.clone());
            self.put_user(&request.user, user);
            self.bump_revision();
        }
        Ok(AuthUserGrantRoleResponse::default())
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// [`Error::InvalidAuthManagement`] for the role `root` of `root` while auth is enabled;
    /// [`Error::UserNotFound`], [`Error::RoleNotGranted`].
    pub fn user_revoke_role(
        &mut self,
        request: &AuthUserRevokeRoleRequest,
    ) -> Result<AuthUserRevokeRoleResponse, Error> {
        if self.enabled && request.name == ROOT && request.role == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        let user = self.users.get(&request.name).ok_or(Error::UserNotFound)?;
        if !user.has_role(&request.role) {
            return Err(Error::RoleNotGranted);
        }
        let mut user = user.clone();
        user.roles.retain(|held| *held != request.role);
        self.put_user(&request.name, user);
        self.bump_revision();
        Ok(AuthUserRevokeRoleResponse::default())
    }

    /// The roles of a user, sorted.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub fn user_get(&self, request: &AuthUserGetRequest) -> Result<AuthUserGetResponse, Error> {
        let user = self.users.get(&request.name).ok_or(Error::UserNotFound)?;
        Ok(AuthUserGetResponse { header: None, roles: user.roles.clone() })
    }

    /// The names of all users, sorted.
    #[must_use]
    pub fn user_list(&self) -> AuthUserListResponse {
        AuthUserListResponse { header: None, users: self.users.keys().cloned().collect() }
    }

    /// The hash to compare a password with: `None` if there is no such user, empty if the user
    /// can only come by certificate.
    #[must_use]
    pub fn password_hash(&self, name: &str) -> Option<&str> {
        self.users.get(name).map(|user| user.password_hash.as_str())
    }

    /// Stores `user` with its ranges made anew, and records it.
    pub(super) fn put_user(&mut self, name: &str, mut user: User) {
        user.resolve(&self.roles);
        self.users.insert(name.to_owned(), user);
        self.record_user(name);
    }
}

impl User {
    /// Makes the derived ranges fit `roles`.
    pub(super) fn resolve(&mut self, roles: &BTreeMap<String, Role>) {
        let held = self.roles.iter().filter_map(|name| roles.get(name));
        let permissions: Vec<_> = held.flat_map(|role| &role.permissions).collect();
        let of = |wanted: Type| {
            let both = Type::Readwrite as i32;
            let granted = permissions.iter().copied();
            Ranges::of(granted.filter(|p| p.perm_type == wanted as i32 || p.perm_type == both))
        };
        (self.readable, self.writable) = (of(Type::Read), of(Type::Write));
    }
}

fn hash_of(hashed_password: &str, no_password: bool) -> String {
    if no_password { String::new() } else { hashed_password.to_owned() }
}
