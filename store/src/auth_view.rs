//! Auth as the server's edge sees it.

use api::authpb::Permission;
use api::berthpb::Principal;

use crate::Error;

/// What a caller wants to do with a range of keys.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Users, roles and permissions as they were when [`crate::Reader::auth`] was called.
///
/// While auth is off, every check passes.
#[derive(Clone)]
pub struct AuthView {}

impl AuthView {
    pub fn enabled(&self) -> bool {
        unimplemented!()
    }

    /// Grows with every change of users, roles, permissions or of whether auth is on.
    pub fn revision(&self) -> u64 {
        unimplemented!()
    }

    /// May the caller read or write all of the range? `range_end` as in a range request.
    pub fn check_range(
        &self,
        _principal: Option<&Principal>,
        _key: &[u8],
        _range_end: &[u8],
        _access: Access,
    ) -> Result<(), Error> {
        unimplemented!()
    }

    /// Is the caller somebody with the role `root`?
    pub fn check_admin(&self, _principal: Option<&Principal>) -> Result<(), Error> {
        unimplemented!()
    }

    /// The roles of a user, sorted.
    pub fn user_roles(&self, _name: &str) -> Result<Vec<String>, Error> {
        unimplemented!()
    }

    /// All users, sorted.
    pub fn users(&self) -> Vec<String> {
        unimplemented!()
    }

    /// What a role permits, as etcd lists it.
    pub fn role_permissions(&self, _name: &str) -> Result<Vec<Permission>, Error> {
        unimplemented!()
    }

    /// All roles, sorted.
    pub fn roles(&self) -> Vec<String> {
        unimplemented!()
    }

    /// The bcrypt hash of a user's password: `None` if there is no such user, empty if the user
    /// has no password.
    pub fn password_hash(&self, _name: &str) -> Option<String> {
        unimplemented!()
    }
}
