//! Pods by shape.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::pod::Shape;
use super::terms::TermId;

/// A shape, by its place.
pub(super) type ClassId = usize;

/// The pods of one shape.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub shape: Arc<Shape>,
    /// The terms of the shape, in its order.
    pub affinity: Vec<TermId>,
    pub anti_affinity: Vec<TermId>,
    pub preferred: Vec<TermId>,
    pub spread: Vec<TermId>,
    /// The terms of anybody that these pods match.
    pub matches: BTreeSet<TermId>,
    /// Changes whenever `matches` does; never the same for two classes.
    pub epoch: u64,
    /// Pods of it, placed or not.
    pods: usize,
}

impl Class {
    /// All terms that it holds a use of.
    pub(super) fn owned(&self) -> impl Iterator<Item = TermId> {
        let lists = [&self.affinity, &self.anti_affinity, &self.preferred, &self.spread];
        lists.into_iter().flatten().copied()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    slots: Vec<Option<Class>>,
    free: Vec<ClassId>,
    by_shape: HashMap<Arc<Shape>, ClassId>,
    epoch: u64,
}

impl Classes {
    /// A class that has pods.
    pub(super) fn get(&self, id: ClassId) -> &Class {
        self.slots[id].as_ref().expect("a class lives as long as its pods")
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ClassId> {
        (0..self.slots.len()).filter(|id| self.slots[*id].is_some())
    }

    /// One more pod of a shape that is known.
    pub(super) fn join(&mut self, shape: &Shape) -> Option<ClassId> {
        let id = *self.by_shape.get(shape)?;
        self.slots[id].as_mut()?.pods += 1;
        Some(id)
    }

    /// A new shape with its first pod.
    pub(super) fn add(&mut self, class: Class) -> ClassId {
        let id = self.free.pop().unwrap_or(self.slots.len());
        if id == self.slots.len() {
            self.slots.push(None);
        }
        self.by_shape.insert(class.shape.clone(), id);
        self.epoch += 1;
        self.slots[id] = Some(Class { epoch: self.epoch, pods: 1, ..class });
        id
    }

    /// One pod less; the class, if that was the last.
    pub(super) fn leave(&mut self, id: ClassId) -> Option<Class> {
        let class = self.slots[id].as_mut()?;
        class.pods -= 1;
        if class.pods > 0 {
            return None;
        }
        let class = self.slots[id].take()?;
        self.by_shape.remove(&class.shape);
        self.free.push(id);
        Some(class)
    }

    pub(super) fn set_match(&mut self, id: ClassId, term: TermId, does_match: bool) {
        self.epoch += 1;
        let epoch = self.epoch;
        let Some(class) = self.slots[id].as_mut() else { return };
        let changed =
            if does_match { class.matches.insert(term) } else { class.matches.remove(&term) };
        if changed {
            class.epoch = epoch;
        }
    }
}

impl Class {
    /// A class before it is added.
    pub(super) fn new(shape: Arc<Shape>) -> Self {
        Self {
            shape,
            affinity: Vec::new(),
            anti_affinity: Vec::new(),
            preferred: Vec::new(),
            spread: Vec::new(),
            matches: BTreeSet::new(),
            epoch: 0,
            pods: 0,
        }
    }
}
