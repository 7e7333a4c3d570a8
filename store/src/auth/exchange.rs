//! Auth as another store has it, and back.

use api::authpb;
use bytes::Bytes;

use super::{AuthState, Role, User};
use crate::snapshot::Auth;

impl AuthState {
    pub fn export(&self) -> Auth {
        let user = |(name, user): (&String, &User)| authpb::User {
            name: Bytes::copy_from_slice(name.as_bytes()),
            password: Bytes::copy_from_slice(user.password_hash.as_bytes()),
            roles: user.roles.clone(),
            options: Some(authpb::UserAddOptions { no_password: user.no_password }),
        };
        let role = |(name, role): (&String, &Role)| authpb::Role {
            name: Bytes::copy_from_slice(name.as_bytes()),
            key_permission: role.permissions.clone(),
        };
        Auth {
            enabled: self.enabled,
            revision: self.revision,
            users: self.users.iter().map(user).collect(),
            roles: self.roles.iter().map(role).collect(),
        }
    }

    /// Whatever is no text in the names and hashes is replaced: etcd has none.
    pub fn import(auth: &Auth) -> Self {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let role = |role: &authpb::Role| {
            let mut permissions = role.key_permission.clone();
            permissions.sort_by(|a, b| a.key.cmp(&b.key));
            (text(&role.name), Role { permissions })
        };
        let roles = auth.roles.iter().map(role).collect();
        let user = |user: &authpb::User| {
            let mut held = user.roles.clone();
            held.sort();
            held.dedup();
            let mut imported = User {
                password_hash: text(&user.password),
                no_password: user.options.is_some_and(|options| options.no_password),
                roles: held,
                ..User::default()
            };
            imported.resolve(&roles);
            (text(&user.name), imported)
        };
        let users = auth.users.iter().map(user).collect();
        Self { enabled: auth.enabled, revision: auth.revision, users, roles, changes: Vec::new() }
    }
}
