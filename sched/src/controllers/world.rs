//! All objects as they were at one revision of the store, with what is looked up in them.
//!
//! One follower over the whole registry feeds it, so what a planner sees of several kinds always
//! fits together: it is what the store had at [`World::revision`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;

use super::id::Id;
use super::kinds::{Known, Typed};
use super::model::owners;
use crate::kv::follow::Change;
use crate::objects::{Document, Stored};

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Meta {
    pub(crate) uid: String,
    pub(crate) revision: i64,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) finalizers: Vec<String>,
    pub(crate) is_deleting: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) meta: Meta,
    /// `None`: of a kind that controllers know by its metadata alone.
    pub(crate) known: Option<Known>,
}

/// An object that changed.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) id: Id,
    pub(crate) before: Option<Entry>,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    /// The store's, that this is the state of.
    pub(crate) revision: i64,
    objects: BTreeMap<Id, Entry>,
    by_uid: HashMap<String, Id>,
    /// By the uid of an owner.
    dependents: HashMap<String, BTreeSet<Id>>,
    in_namespace: HashMap<String, BTreeSet<Id>>,
    /// Pods by their node, and pods without a controller by their namespace.
    on_node: HashMap<String, BTreeSet<Id>>,
    free_pods: HashMap<String, BTreeSet<Id>>,
    /// Objects that are there, but not as anything that could be read.
    unreadable: BTreeSet<Id>,
}

impl World {
    /// Takes changes in and says which objects they are about.
    pub(crate) fn apply(&mut self, changes: Vec<Change>, revision: i64) -> Vec<Touched> {
        let mut touched = Vec::with_capacity(changes.len());
        for change in changes {
            let Some(id) = Id::parse(change.key()) else { continue };
            let after = match &change {
                Change::Put(kv) => match read(&id, kv) {
                    Ok(entry) => Some(entry),
                    Err(_) => {
                        // It is left as it was known last: it is there, and may own others.
                        self.unreadable.insert(id);
                        continue;
                    }
                },
                Change::Delete(_) => None,
            };
            if self.unreadable.remove(&id) {
                touched.extend(self.named_as_owner(&id));
            }
            let before = self.put(&id, after);
            touched.push(Touched { id, before });
        }
        self.revision = self.revision.max(revision);
        touched
    }

    fn put(&mut self, id: &Id, after: Option<Entry>) -> Option<Entry> {
        let before = self.objects.remove(id);
        if let Some(before) = &before {
            self.index(id, before, false);
        }
        if let Some(after) = after {
            self.index(id, &after, true);
            self.objects.insert(id.clone(), after);
        }
        before
    }

    fn index(&mut self, id: &Id, entry: &Entry, is_there: bool) {
        let uid = &entry.meta.uid;
        if is_there {
            self.by_uid.insert(uid.clone(), id.clone());
        } else if self.by_uid.get(uid) == Some(id) {
            self.by_uid.remove(uid);
        }
        let mark =
            |map: &mut HashMap<String, BTreeSet<Id>>, key: &str| mark(map, key, id, is_there);
        mark(&mut self.in_namespace, &id.namespace);
        for owner in &entry.meta.owners {
            mark(&mut self.dependents, &owner.uid);
        }
        if let Some(Known::Pod(pod)) = &entry.known {
            if let Some(node) = super::model::pods::node(pod) {
                mark(&mut self.on_node, node);
            }
            if owners::controller(&pod.metadata).is_none() {
                mark(&mut self.free_pods, &id.namespace);
            }
        }
    }

    pub(crate) fn entry(&self, id: &Id) -> Option<&Entry> {
        self.objects.get(id)
    }

    pub(crate) fn get<T: Typed>(&self, namespace: &str, name: &str) -> Option<&Arc<Stored<T>>> {
        let id = Id::new(T::PLURAL, namespace, name);
        self.objects.get(&id).and_then(|entry| T::of(entry.known.as_ref()?))
    }

    /// The objects of a kind in one namespace; the empty one for what has none.
    pub(crate) fn all_in<'a, T: Typed>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a T> {
        let first = Id::new(T::PLURAL, namespace, "");
        let all = self.objects.range(first..);
        all.take_while(move |(id, _)| id.resource == T::PLURAL && id.namespace == namespace)
            .filter_map(|(_, entry)| T::of(entry.known.as_ref()?))
            .map(|stored| &stored.object)
    }

    /// The objects of a kind in all namespaces.
    pub(crate) fn every<T: Typed>(&self) -> impl Iterator<Item = &T> {
        let all = self.objects.range(Id::new(T::PLURAL, "", "")..);
        all.take_while(|(id, _)| id.resource == T::PLURAL)
            .filter_map(|(_, entry)| T::of(entry.known.as_ref()?))
            .map(|stored| &stored.object)
    }

    /// Whether an owner is there that cannot be read: then nobody knows its uid.
    pub(crate) fn is_unreadable(&self, owner: &OwnerReference, namespace: &str) -> bool {
        // Of whatever kind: a name too many only keeps what else would be deleted.
        self.unreadable.iter().any(|id| {
            id.name == owner.name && (id.namespace.is_empty() || id.namespace == namespace)
        })
    }

    /// Who names an object as an owner that was not known by its uid.
    fn named_as_owner(&self, owner: &Id) -> Vec<Touched> {
        let names = |entry: &Entry| entry.meta.owners.iter().any(|one| one.name == owner.name);
        let all = self.objects.iter().filter(|(_, entry)| names(entry));
        all.map(|(id, entry)| Touched { id: id.clone(), before: Some(entry.clone()) }).collect()
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Id> {
        self.by_uid.get(uid)
    }

    /// Everything that names this owner.
    pub(crate) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&Id, &Entry)> {
        self.listed(self.dependents.get(uid))
    }

    /// The objects of a kind whose controller has this uid.
    pub(crate) fn controlled<'a, T: Typed>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a T> {
        self.dependents(uid)
            .filter_map(|(_, entry)| T::of(entry.known.as_ref()?))
            .map(|stored| &stored.object)
            .filter(move |object| owners::is_controlled_by(object.metadata(), uid))
    }

    pub(crate) fn contents(&self, namespace: &str) -> impl Iterator<Item = (&Id, &Entry)> {
        self.listed(self.in_namespace.get(namespace))
    }

    pub(crate) fn on_node(&self, node: &str) -> impl Iterator<Item = &Pod> {
        self.pods(self.on_node.get(node))
    }

    /// Pods of a namespace that have no controller.
    pub(crate) fn free_pods(&self, namespace: &str) -> impl Iterator<Item = &Pod> {
        self.pods(self.free_pods.get(namespace))
    }

    fn listed<'a>(
        &'a self,
        ids: Option<&'a BTreeSet<Id>>,
    ) -> impl Iterator<Item = (&'a Id, &'a Entry)> {
        ids.into_iter().flatten().filter_map(|id| Some((id, self.objects.get(id)?)))
    }

    fn pods<'a>(&'a self, ids: Option<&'a BTreeSet<Id>>) -> impl Iterator<Item = &'a Pod> {
        self.listed(ids).filter_map(|(_, entry)| match &entry.known {
            Some(Known::Pod(pod)) => Some(&pod.object),
            _ => None,
        })
    }

    pub(crate) fn exists(&self, id: &Id) -> bool {
        self.objects.contains_key(id)
    }

    pub(crate) fn is_ending(&self, namespace: &str) -> bool {
        self.get::<Namespace>("", namespace)
            .is_some_and(|namespace| owners::is_deleting(&namespace.metadata))
    }
}

fn mark(map: &mut HashMap<String, BTreeSet<Id>>, key: &str, id: &Id, is_there: bool) {
    if is_there {
        map.entry(key.to_owned()).or_default().insert(id.clone());
    } else if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

fn read(id: &Id, kv: &api::mvccpb::KeyValue) -> crate::objects::Result<Entry> {
    let document = Document::read(kv)?;
    // Fields of metadata that are odd make it nobody's dependent.
    let meta = ObjectMeta::deserialize(document.metadata()).unwrap_or_default();
    let meta = Meta {
        uid: meta.uid.unwrap_or_default(),
        revision: document.revision,
        owners: meta.owner_references.unwrap_or_default(),
        finalizers: meta.finalizers.unwrap_or_default(),
        is_deleting: meta.deletion_timestamp.is_some(),
    };
    let known = Known::read(&id.resource, document).transpose()?;
    Ok(Entry { meta, known })
}
