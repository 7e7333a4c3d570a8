//! Auth written down: one record for each user and role, and one for the rest.
//!
//! | key | value |
//! |---|---|
//! | `as` | enabled (0 or 1), revision (u64, big endian) |
//! | `ar` name | `authpb.Role` |
//! | `au` name | `authpb.User` |

use api::authpb;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::{AuthState, Role, User};
use crate::Error;

/// A key and its value.
pub type Record = (Bytes, Bytes);

/// All keys of this room begin so.
pub const PREFIX: &[u8] = b"a";

const STATUS: &[u8] = b"as";
const ROLE: &[u8] = b"ar";
const USER: &[u8] = b"au";

impl AuthState {
    /// All of the state, in the order of keys.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let roles = self.roles.iter().map(|(name, role)| (key(ROLE, name), role.encode(name)));
        let status = std::iter::once((Bytes::from_static(STATUS), self.encode_status()));
        let users = self.users.iter().map(|(name, user)| (key(USER, name), user.encode(name)));
        roles.chain(status).chain(users)
    }

    /// The state that [`AuthState::records`] gave, in any order; a fresh one if there are none.
    ///
    /// # Errors
    /// [`Error::Engine`] for anything that `records` could not have given.
    pub fn load(records: impl IntoIterator<Item = Record>) -> Result<Self, Error> {
        let mut state = Self::default();
        for (key, value) in records {
            state.load_record(&key, value).ok_or_else(|| {
                Error::Engine(format!("a damaged auth record: {}", key.escape_ascii()))
            })?;
        }
        let roles = &state.roles;
        state.users.values_mut().for_each(|user| user.resolve(roles));
        Ok(state)
    }

    /// What changed since the last call, in order: records to write, or (`None`) to remove.
    pub fn take_changes(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn record_status(&mut self) {
        self.changes.push((Bytes::from_static(STATUS), Some(self.encode_status())));
    }

    pub(super) fn record_user(&mut self, name: &str) {
        let value = self.users.get(name).map(|user| user.encode(name));
        self.changes.push((key(USER, name), value));
    }

    pub(super) fn record_role(&mut self, name: &str) {
        let value = self.roles.get(name).map(|role| role.encode(name));
        self.changes.push((key(ROLE, name), value));
    }

    fn encode_status(&self) -> Bytes {
        let mut value = BytesMut::with_capacity(9);
        value.put_u8(u8::from(self.enabled));
        value.put_u64(self.revision);
        value.freeze()
    }

    fn load_record(&mut self, key: &[u8], value: Bytes) -> Option<()> {
        if key == STATUS {
            let (&enabled, revision) = value.split_first()?;
            self.enabled = enabled == 1;
            self.revision = u64::from_be_bytes(revision.try_into().ok()?);
        } else if let Some(name) = key.strip_prefix(ROLE) {
            let (name, role) = Role::decode(value)?.filter_name(name)?;
            self.roles.insert(name, role);
        } else if let Some(name) = key.strip_prefix(USER) {
            let (name, user) = User::decode(value)?.filter_name(name)?;
            self.users.insert(name, user);
        } else {
            return None;
        }
        Some(())
    }
}

impl User {
    fn encode(&self, name: &str) -> Bytes {
        let user = authpb::User {
            name: Bytes::copy_from_slice(name.as_bytes()),
            password: Bytes::copy_from_slice(self.password_hash.as_bytes()),
            roles: self.roles.clone(),
            options: Some(authpb::UserAddOptions { no_password: self.no_password }),
        };
        user.encode_to_vec().into()
    }

    fn decode(value: Bytes) -> Option<Named<Self>> {
        let user = authpb::User::decode(value).ok()?;
        let password_hash = String::from_utf8(user.password.to_vec()).ok()?;
        let no_password = user.options.is_some_and(|options| options.no_password);
        let sorted = user.roles.is_sorted_by(|a, b| a < b);
        sorted.then(|| Named {
            name: user.name,
            item: Self { password_hash, no_password, roles: user.roles, ..Self::default() },
        })
    }
}

impl Role {
    fn encode(&self, name: &str) -> Bytes {
        let role = authpb::Role {
            name: Bytes::copy_from_slice(name.as_bytes()),
            key_permission: self.permissions.clone(),
        };
        role.encode_to_vec().into()
    }

    fn decode(value: Bytes) -> Option<Named<Self>> {
        let role = authpb::Role::decode(value).ok()?;
        let sorted = role.key_permission.is_sorted_by(|a, b| a.key <= b.key);
        sorted.then(|| Named { name: role.name, item: Self { permissions: role.key_permission } })
    }
}

/// A decoded item and the name that it says it has.
struct Named<T> {
    name: Bytes,
    item: T,
}

impl<T> Named<T> {
    /// The item, if its name is the one in its key.
    fn filter_name(self, name: &[u8]) -> Option<(String, T)> {
        let name = (*self.name == *name).then(|| std::str::from_utf8(name).ok())??;
        Some((name.to_owned(), self.item))
    }
}

fn key(kind: &'static [u8], name: &str) -> Bytes {
    [kind, name.as_bytes()].concat().into()
}
