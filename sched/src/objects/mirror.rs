//! A kind as a map in memory that follows the store: what others call an informer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::typed::{Kind, Stored};
use super::{Objects, REGISTRY};
use crate::kv::follow::{Change, Follower, News};

/// What an object is called. Objects of the cluster have an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// As the key of an object of this kind has it.
    fn of_key(plural: &str, key: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(REGISTRY)?.strip_prefix('/')?;
        let rest = rest.strip_prefix(plural)?.strip_prefix('/')?;
        Some(match rest.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Self::new("", rest),
        })
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => formatter.write_str(&self.name),
            namespace => write!(formatter, "{namespace}/{}", self.name),
        }
    }
}

type Map<T> = BTreeMap<ObjectName, Arc<Stored<T>>>;

/// All objects of a kind as they were at one revision.
#[derive(Clone, Debug)]
pub struct View<T> {
    objects: Arc<Map<T>>,
    /// The revision of the store that this view is of.
    pub revision: i64,
}

impl<T> View<T> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Stored<T>>> {
        self.objects.get(&ObjectName::new(namespace, name))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Arc<Stored<T>>)> {
        self.objects.iter()
    }

    pub fn values(&self) -> impl Iterator<Item = &Arc<Stored<T>>> {
        self.objects.values()
    }

    /// The objects of one namespace, by name.
    pub fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Stored<T>>> {
        let first = ObjectName::new(namespace, "");
        let own = move |name: &ObjectName| name.namespace == namespace;
        self.objects.range(first..).take_while(move |(name, _)| own(name)).map(|(_, object)| object)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Follows all objects of a kind. Cheap to clone; all clones share one watch of the store, which
/// ends with the last of them.
pub struct Mirror<T> {
    shared: Arc<Shared<T>>,
    /// What this clone has seen; see [`Mirror::changed`].
    seen: watch::Receiver<i64>,
}

struct Shared<T> {
    state: Arc<State<T>>,
    task: JoinHandle<()>,
}

struct State<T> {
    view: RwLock<View<T>>,
    /// The revision of the view; 0: nothing is known yet.
    revision: watch::Sender<i64>,
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
    fresh: watch::Sender<bool>,
}

impl<T> Clone for Mirror<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen.clone() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Kind> Mirror<T> {
    /// Begins to follow. Must be called within a runtime.
    pub fn new(objects: &Objects) -> Self {
        let view = View { objects: Arc::new(BTreeMap::new()), revision: 0 };
        let state = Arc::new(State {
            view: RwLock::new(view),
            revision: watch::Sender::new(0),
            subscribers: Mutex::default(),
            fresh: watch::Sender::new(false),
        });
        let seen = state.revision.subscribe();
        let follower = Follower::new(objects.store().clone(), Objects::prefix::<T>(None));
        let task = tokio::spawn(follow(state.clone(), follower));
        Self { shared: Arc::new(Shared { state, task }), seen }
    }

    /// What is known now. Cheap; to hold it for long makes the next change copy the map.
    pub fn read(&self) -> View<T> {
        self.shared.state.view.read().clone()
    }

    /// One object as it is known now.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Stored<T>>> {
        self.shared.state.view.read().get(namespace, name).cloned()
    }

    /// Whether the whole kind has been read, and the store can be followed at this moment.
    pub fn is_synced(&self) -> bool {
        *self.shared.state.revision.borrow() > 0 && *self.shared.state.fresh.borrow()
    }

    /// Waits until the whole kind has been read. Cancel safe.
    pub async fn synced(&self) {
        // The sender lives as long as this.
        let _ = self.shared.state.revision.subscribe().wait_for(|revision| *revision > 0).await;
    }

    /// Waits until everything up to a revision of the store is in the view: one's own write, say.
    /// Only revisions that changed this kind are sure to come. Cancel safe.
    pub async fn reached(&self, revision: i64) {
        let _ = self.shared.state.revision.subscribe().wait_for(|now| *now >= revision).await;
    }

    /// Waits for a change since the last call on this clone. Cancel safe.
    pub async fn changed(&mut self) {
        let _ = self.seen.changed().await;
    }

    /// The names of the objects that change from now on, and first of all that are there.
    pub fn updates(&self) -> Updates {
        let subscriber = Arc::new(Subscriber::default());
        let state = &self.shared.state;
        // Under the lock of the view, so that no change falls in between.
        let view = state.view.read();
        subscriber.add(view.objects.keys().cloned());
        state.subscribers.lock().push(Arc::downgrade(&subscriber));
        Updates { subscriber }
    }
}

#[derive(Default)]
struct Subscriber {
    names: Mutex<BTreeSet<ObjectName>>,
    news: Notify,
}

impl Subscriber {
    fn add(&self, names: impl Iterator<Item = ObjectName>) {
        self.names.lock().extend(names);
        self.news.notify_one();
    }
}

/// The names of objects that changed; each once, however often it changed meanwhile.
pub struct Updates {
    subscriber: Arc<Subscriber>,
}

impl Updates {
    /// Waits for changes and takes them all. Cancel safe.
    pub async fn next(&mut self) -> BTreeSet<ObjectName> {
        loop {
            let names = std::mem::take(&mut *self.subscriber.names.lock());
            if !names.is_empty() {
                return names;
            }
            self.subscriber.news.notified().await;
        }
    }
}

async fn follow<T: Kind>(state: Arc<State<T>>, mut follower: Follower) {
    loop {
        match follower.next().await {
            News::Changes(changes) => {
                take(&state, &changes.list, changes.revision);
                state.fresh.send_if_modified(|fresh| !std::mem::replace(fresh, true));
            }
            News::Stale(_) => drop(state.fresh.send_replace(false)),
            News::Fresh => drop(state.fresh.send_replace(true)),
        }
    }
}

fn take<T: Kind>(state: &State<T>, changes: &[Change], revision: i64) {
    // Read before the lock is taken: whoever looks is not kept waiting for that.
    let changes: Vec<_> = changes.iter().filter_map(read::<T>).collect();
    let names: BTreeSet<ObjectName> = changes.iter().map(|(name, _)| name.clone()).collect();
    {
        let mut view = state.view.write();
        let map = Arc::make_mut(&mut view.objects);
        for (name, object) in changes {
            match object {
                Some(object) => drop(map.insert(name, object)),
                None => drop(map.remove(&name)),
            }
        }
        view.revision = revision;
    }
    state.subscribers.lock().retain(|subscriber| {
        let Some(subscriber) = subscriber.upgrade() else { return false };
        if !names.is_empty() {
            subscriber.add(names.iter().cloned());
        }
        true
    });
    state.revision.send_replace(revision);
}

/// What an object is from now on; `None` there: deleted. What cannot be read stays as it was known
/// last: it is there.
fn read<T: Kind>(change: &Change) -> Option<(ObjectName, Option<Arc<Stored<T>>>)> {
    let name = ObjectName::of_key(T::URL_PATH_SEGMENT, change.key())?;
    match change {
        Change::Put(kv) => Some((name, Some(Arc::new(Stored::read(kv).ok()?)))),
        Change::Delete(_) => Some((name, None)),
    }
}
