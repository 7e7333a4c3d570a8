//! The orchestrator's objects: Kubernetes documents in the store, and the one way in which
//! controllers, scheduler, agent and API server read and write them.
//!
//! An object is the JSON document at `/registry/<plural>/<namespace>/<name>` (without the namespace
//! where a kind has none). Its `resourceVersion` is the key's mod revision: it is set when a
//! document is read and never stored. Fields that no type here knows survive every change.
//!
//! This room must never write without comparing: what was read at a revision is replaced at that
//! revision only. It knows nothing of HTTP.
//!
//! Start at [`Objects`] (typed), then [`documents`] (the same for any kind), [`Mirror`] (a kind as
//! a map that follows the store), [`kinds`] (the table).

pub mod claims;
pub mod clock;
pub mod defaults;
mod delete;
mod documents;
mod error;
pub mod events;
mod fold;
pub mod kinds;
pub mod limits;
mod mirror;
pub mod notes;
#[cfg(test)]
mod tests;
mod typed;
pub mod unreadable;

use api::etcdserverpb::Compare;

pub use delete::{Delete, Propagation};
pub use documents::{Beside, Document, Page, as_created};
pub use error::{Error, ErrorKind, Result};
pub use mirror::{Mirror, ObjectName, Updates, View};
pub use typed::{Kind, Listed, Stored};

use crate::kv::Store;

/// The prefix of all objects.
pub const REGISTRY: &str = "/registry";

/// The objects of a store. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    store: Store,
    /// What must hold besides whenever something is written.
    fence: Vec<Compare>,
}

impl Objects {
    pub fn new(store: Store) -> Self {
        Self { store, fence: Vec::new() }
    }

    /// The same objects for one who may lose the right to write: every write holds only if
    /// `compare` does in the same transaction, and fails with [`ErrorKind::Fenced`] if not.
    #[must_use]
    pub fn fenced(&self, compare: Compare) -> Self {
        let mut fence = self.fence.clone();
        fence.push(compare);
        Self { store: self.store.clone(), fence }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The key of an object.
    pub fn key<T: Kind>(namespace: Option<&str>, name: &str) -> Vec<u8> {
        documents::key(T::URL_PATH_SEGMENT, namespace, name)
    }

    /// The key of an object of any kind.
    pub fn key_of(resource: &kinds::Resource, namespace: Option<&str>, name: &str) -> Vec<u8> {
        documents::key(resource.plural, namespace, name)
    }

    /// The prefix of the keys of any kind, in one namespace or in all.
    pub fn prefix_of(resource: &kinds::Resource, namespace: Option<&str>) -> Vec<u8> {
        documents::prefix(resource.plural, namespace)
    }

    /// The prefix of the keys of a kind, in one namespace or in all.
    pub fn prefix<T: Kind>(namespace: Option<&str>) -> Vec<u8> {
        documents::prefix(T::URL_PATH_SEGMENT, namespace)
    }
}
