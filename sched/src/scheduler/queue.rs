//! The pods that wait for a node: by priority, then by age.
//!
//! A kind of pod that fits nowhere waits as a whole. When something changes, one of them is tried;
//! only if it finds a place does the next one come. So a change costs one try for each kind, however
//! many pods wait.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::pod::PodKey;

/// Pods that are alike; see [`super::Planner::kind_of`].
pub type PodKind = (usize, Option<PodKey>);

type Rank = (Reverse<i32>, i64, PodKey);

#[derive(Debug, Default)]
pub struct Queue {
    ready: BTreeSet<Rank>,
    parked: BTreeMap<PodKind, BTreeSet<Rank>>,
    /// The kinds among them that pods which find a place may help.
    dependent: BTreeSet<PodKind>,
    places: HashMap<PodKey, (Rank, Place)>,
    /// The one that is tried for its kind, by kind.
    probes: BTreeMap<PodKind, PodKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Ready,
    /// It was given out, and what becomes of it is not known yet.
    Out,
    Parked(PodKind),
}

impl Queue {
    /// A pod that is to be tried; one that is known already keeps its place.
    pub fn add(&mut self, key: &PodKey, priority: i32, created_s: i64) {
        let rank = (Reverse(priority), created_s, key.clone());
        match self.places.get(key) {
            Some((before, _)) if *before == rank => return,
            Some(_) => self.remove(key),
            None => {}
        }
        self.ready.insert(rank.clone());
        self.places.insert(key.clone(), (rank, Place::Ready));
    }

    /// Takes the next pod to be tried. Then it is placed, parked, retried or removed.
    pub fn take_next(&mut self) -> Option<PodKey> {
        let (_, _, key) = self.ready.pop_first()?;
        if let Some((_, place)) = self.places.get_mut(&key) {
            *place = Place::Out;
        }
        Some(key)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The pod found a place: it is forgotten, and the next of its kind is tried.
    pub fn placed(&mut self, key: &PodKey) {
        self.remove(key);
    }

    /// The pod is to be tried again.
    pub fn retry(&mut self, key: &PodKey) {
        let Some((rank, place)) = self.places.get_mut(key) else { return };
        if *place == Place::Out {
            *place = Place::Ready;
            self.ready.insert(rank.clone());
        }
    }

    /// The pod fits nowhere: it waits with its kind until something changes. `depends` if a pod that
    /// is placed somewhere may be such a change.
    pub fn park(&mut self, key: &PodKey, kind: PodKind, depends: bool) {
        if depends {
            self.dependent.insert(kind.clone());
        }
        self.probes.retain(|_, probe| probe != key);
        let Some((rank, place)) = self.places.get_mut(key) else { return };
        if *place == Place::Ready {
            self.ready.remove(rank);
        }
        *place = Place::Parked(kind.clone());
        self.parked.entry(kind).or_default().insert(rank.clone());
    }

    /// Something has changed: one of each kind is tried.
    pub fn wake(&mut self) {
        let kinds: Vec<PodKind> = self.parked.keys().cloned().collect();
        self.wake_kinds(&kinds);
    }

    /// A pod was placed: one of each kind is tried that this may help.
    pub fn wake_dependent(&mut self) {
        let kinds: Vec<PodKind> = std::mem::take(&mut self.dependent).into_iter().collect();
        self.wake_kinds(&kinds);
    }

    fn wake_kinds(&mut self, kinds: &[PodKind]) {
        for kind in kinds {
            if !self.probes.contains_key(kind) {
                self.wake_one(kind);
            }
        }
    }

    fn wake_one(&mut self, kind: &PodKind) {
        let Some(pods) = self.parked.get_mut(kind) else { return };
        let first = pods.pop_first();
        if pods.is_empty() {
            self.parked.remove(kind);
        }
        let Some(rank) = first else { return };
        self.probes.insert(kind.clone(), rank.2.clone());
        if let Some((_, place)) = self.places.get_mut(&rank.2) {
            *place = Place::Ready;
        }
        self.ready.insert(rank);
    }

    /// The pod is gone, or somebody else placed it.
    pub fn remove(&mut self, key: &PodKey) {
        let Some((rank, place)) = self.places.remove(key) else { return };
        match place {
            Place::Ready => drop(self.ready.remove(&rank)),
            Place::Out => {}
            Place::Parked(kind) => {
                if let Some(pods) = self.parked.get_mut(&kind) {
                    pods.remove(&rank);
                    if pods.is_empty() {
                        self.parked.remove(&kind);
                    }
                }
            }
        }
        let probed: Vec<PodKind> =
            self.probes.iter().filter(|(_, probe)| *probe == key).map(|(k, _)| k.clone()).collect();
        for kind in probed {
            self.probes.remove(&kind);
            self.wake_one(&kind);
        }
    }

    /// Pods that wait, tried or not.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
