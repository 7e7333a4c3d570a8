//! Who may do what. While auth is off, every check passes.

use api::berthpb::Principal;

use super::{Access, AuthState};
use crate::Error;

impl AuthState {
    /// May the caller read or write every key of the range? `range_end` is as in a request.
    ///
    /// # Errors
    /// [`Error::UserEmpty`] for nobody, [`Error::AuthOldRevision`] if auth has changed since the
    /// caller was authenticated, [`Error::PermissionDenied`].
    pub fn check_range(
        &self,
        principal: Option<&Principal>,
        key: &[u8],
        range_end: &[u8],
        access: Access,
    ) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        // A principal without a revision has not been authenticated (etcd's `AuthInfo{}`).
        let principal = principal.filter(|p| p.auth_revision != 0).ok_or(Error::UserEmpty)?;
        if principal.auth_revision < self.revision {
            return Err(Error::AuthOldRevision);
        }
        let user = self.users.get(&principal.user).ok_or(Error::PermissionDenied)?;
        let granted = match access {
            Access::Read => &user.readable,
            Access::Write => &user.writable,
        };
        if user.is_root() || granted.cover(key, range_end) {
            Ok(())
        } else {
            Err(Error::PermissionDenied)
        }
    }

    /// Does the caller hold the role `root`? The revision is not asked, as etcd does not.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::UserNotFound`], [`Error::PermissionDenied`].
    pub fn check_admin(&self, principal: Option<&Principal>) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        let principal = principal.filter(|p| !p.user.is_empty()).ok_or(Error::UserEmpty)?;
        let user = self.users.get(&principal.user).ok_or(Error::UserNotFound)?;
        if user.is_root() { Ok(()) } else { Err(Error::PermissionDenied) }
    }

    /// May the caller see the roles of user `name`? Their own they may.
    ///
    /// # Errors
    /// Those of [`AuthState::check_admin`].
    pub fn check_user_get(&self, principal: Option<&Principal>, name: &str) -> Result<(), Error> {
        match self.check_admin(principal) {
            Err(_) if principal.map_or("", |p| &p.user) == name => Ok(()),
            checked => checked,
        }
    }

    /// May the caller see the permissions of `role`? If they hold it they may.
    ///
    /// # Errors
    /// Those of [`AuthState::check_admin`].
    pub fn check_role_get(&self, principal: Option<&Principal>, role: &str) -> Result<(), Error> {
        match self.check_admin(principal) {
            Err(_) if principal.is_some_and(|p| self.has_role(&p.user, role)) => Ok(()),
            checked => checked,
        }
    }

    fn has_role(&self, user: &str, role: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.has_role(role))
    }
}
