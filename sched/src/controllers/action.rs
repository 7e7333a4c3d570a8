//! What a planner asks for.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use super::id::Id;
use super::kinds::Object;
pub(crate) use crate::objects::events::reference;

/// What is to be done for one object: the actions in their order, then another look.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    /// When time alone will make a difference. `None`: only a change does.
    pub(crate) again: Option<Timestamp>,
}

/// One write, or something to tell people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// An object that must not be there yet.
    Create(Object),
    /// The object as it is to be, if it still is at the revision that it carries.
    Update(Object),
    Delete(Removal),
    /// Takes marks off an object of any kind; one that is being deleted and has no finalizer left
    /// goes.
    Strip(Strip),
    /// Records outside of the registry; `None` removes one.
    Record(Vec<(String, Option<String>)>),
    Tell(Event),
}

/// An object to delete, if it is still the one that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) id: Id,
    pub(crate) uid: String,
    pub(crate) how: How,
}

/// How a deletion goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// With the grace that the object asks for; its dependents follow.
    Gracefully,
    /// Its dependents go first.
    Foreground,
    /// At once: nobody is there who could end it.
    Now,
}

/// Marks to take off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strip {
    pub(crate) id: Id,
    pub(crate) revision: i64,
    /// In `metadata`.
    pub(crate) finalizer: Option<String>,
    /// References to owners with these uids.
    pub(crate) owners: Vec<String>,
}

/// Something that people want to know of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) about: ObjectReference,
    pub(crate) is_warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Plan {
    /// Looks again at this time at the latest.
    pub(crate) fn look_at(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |known| known.min(at)));
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn create(&mut self, object: impl Into<Object>) {
        self.push(Action::Create(object.into()));
    }

    pub(crate) fn update(&mut self, object: impl Into<Object>) {
        self.push(Action::Update(object.into()));
    }

    /// Deletes with grace.
    pub(crate) fn delete(&mut self, object: impl Into<Object>) {
        self.remove(&object.into(), How::Gracefully);
    }

    pub(crate) fn remove(&mut self, object: &Object, how: How) {
        let uid = object.metadata().uid.clone().unwrap_or_default();
        self.push(Action::Delete(Removal { id: object.id(), uid, how }));
    }

    pub(crate) fn tell(&mut self, about: &ObjectReference, reason: &'static str, message: String) {
        let event = Event { about: about.clone(), is_warning: false, reason, message };
        self.push(Action::Tell(event));
    }

    pub(crate) fn warn(&mut self, about: &ObjectReference, reason: &'static str, message: String) {
        let event = Event { about: about.clone(), is_warning: true, reason, message };
        self.push(Action::Tell(event));
    }
}
