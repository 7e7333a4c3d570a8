//! Roles and the permissions that they hold.

use api::authpb::Permission;
use api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse,
    AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse,
};

use super::ranges::is_valid_permission;
use super::{AuthState, ROOT, Role};
use crate::Error;

impl AuthState {
    /// Adds a role without permissions.
    ///
    /// # Errors
    /// [`Error::RoleEmpty`], [`Error::RoleExists`].
    pub fn role_add(&mut self, request: &AuthRoleAddRequest) -> Result<AuthRoleAddResponse, Error> {
        if request.name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(&request.name) {
            return Err(Error::RoleExists);
        }
        self.put_role(&request.name, Role::default());
        Ok(AuthRoleAddResponse::default())
    }

    /// Deletes a role and takes it from all who hold it.
    ///
    /// # Errors
    /// [`Error::InvalidAuthManagement`] for `root` while auth is enabled; [`Error::RoleNotFound`].
    pub fn role_delete(
        &mut self,
        request: &AuthRoleDeleteRequest,
    ) -> Result<AuthRoleDeleteResponse, Error> {
        if self.enabled && request.role == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        if self.roles.remove(&request.role).is_none() {
            return Err(Error::RoleNotFound);
        }
        self.record_role(&request.role);
        for name in self.holders(&request.role) {
            if let Some(mut user) = self.users.remove(&name) {
                user.roles.retain(|held| *held != request.role);
                self.put_user(&name, user);
            }
        }
        self.bump_revision();
        Ok(AuthRoleDeleteResponse::default())
    }

    /// Adds a permission to a role, or changes the type of one with the same key and range.
    ///
    /// # Errors
    /// [`Error::PermissionNotGiven`]; [`Error::InvalidAuthManagement`] for an empty key or a
    /// range that ends where it begins or before; [`Error::RoleNotFound`].
    pub fn role_grant_permission(
        &mut self,
        request: &AuthRoleGrantPermissionRequest,
    ) -> Result<AuthRoleGrantPermissionResponse, Error> {
        let granted = request.perm.as_ref().ok_or(Error::PermissionNotGiven)?;
        if !is_valid_permission(&granted.key, &granted.range_end) {
            return Err(Error::InvalidAuthManagement);
        }
        let mut role = self.roles.get(&request.name).ok_or(Error::RoleNotFound)?.clone();
        role.grant(granted);
        self.put_role(&request.name, role);
        Ok(AuthRoleGrantPermissionResponse::default())
    }

    /// Takes the permission with exactly this key and range from a role, whatever its type.
    ///
    /// # Errors
    /// [`Error::RoleNotFound`], [`Error::PermissionNotGranted`].
    pub fn role_revoke_permission(
        &mut self,
        request: &AuthRoleRevokePermissionRequest,
    ) -> Result<AuthRoleRevokePermissionResponse, Error> {
        let mut role = self.roles.get(&request.role).ok_or(Error::RoleNotFound)?.clone();
        let before = role.permissions.len();
        role.permissions.retain(|p| p.key != request.key || p.range_end != request.range_end);
        if role.permissions.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        self.put_role(&request.role, role);
        Ok(AuthRoleRevokePermissionResponse::default())
    }

    /// The permissions of a role, sorted by key: what was granted, also for `root`, who may do
    /// everything (as etcd 3.4; later ones show one permission for all keys there).
    ///
    /// # Errors
    /// [`Error::RoleNotFound`].
    pub fn role_get(&self, request: &AuthRoleGetRequest) -> Result<AuthRoleGetResponse, Error> {
        let role = self.roles.get(&request.role).ok_or(Error::RoleNotFound)?;
        Ok(AuthRoleGetResponse { header: None, perm: role.permissions.clone() })
    }

    /// The names of all roles, sorted.
    #[must_use]
    pub fn role_list(&self) -> AuthRoleListResponse {
        AuthRoleListResponse { header: None, roles: self.roles.keys().cloned().collect() }
    }

    /// Stores and records `role`, and lets those who hold it feel it.
    fn put_role(&mut self, name: &str, role: Role) {
        self.roles.insert(name.to_owned(), role);
        self.record_role(name);
        for holder in self.holders(name) {
            if let Some(user) = self.users.get_mut(&holder) {
                user.resolve(&self.roles);
            }
        }
        self.bump_revision();
    }

    fn holders(&self, role: &str) -> Vec<String> {
        let holders = self.users.iter().filter(|(_, user)| user.has_role(role));
        holders.map(|(name, _)| name.clone()).collect()
    }
}

impl Role {
    /// Like etcd, this compares with the first permission of the key only: where a key has
    /// several with different ends, granting one of the others again adds a second one, which
    /// `role_get` shows.
    fn grant(&mut self, granted: &Permission) {
        let first = self.permissions.partition_point(|held| held.key < granted.key);
        if let Some(held) = self.permissions.get_mut(first)
            && held.key == granted.key
            && held.range_end == granted.range_end
        {
            held.perm_type = granted.perm_type;
            return;
        }
        let place = self.permissions.partition_point(|held| held.key <= granted.key);
        self.permissions.insert(place, granted.clone());
    }
}
