//! Who waits for changes, and is told to look.
//!
//! A notice says no more than that there may be something: what it is stands in the history, where
//! everybody reads at their own pace. So the task that applies never waits for anybody, and
//! whoever is slow holds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::berthpb::Command;
use bytes::Bytes;
use parking_lot::Mutex;
use raft::{AppliedObserver, Observe};
use store::v2::{Event, Path};
use store::{Applied, Response};
use tokio::sync::watch;

/// Clones share it.
#[derive(Clone, Default)]
pub struct Notices {
    /// By the path that they watch.
    watched: Arc<Mutex<BTreeMap<Bytes, watch::Sender<()>>>>,
}

/// Somebody who waits.
pub(super) struct Waiter {
    notices: Notices,
    path: Bytes,
    /// `None` when it is being dropped.
    told: Option<watch::Receiver<()>>,
}

impl Notices {
    /// Whom the node must tell what it applies; `other` is told as well.
    pub fn observer(&self, other: Option<AppliedObserver>) -> AppliedObserver {
        AppliedObserver(Arc::new(Observer { notices: self.clone(), other }))
    }

    pub(super) fn wait(&self, path: &Path) -> Waiter {
        let path = path.as_bytes().clone();
        let mut watched = self.watched.lock();
        let sender = watched.entry(path.clone()).or_default();
        Waiter { notices: self.clone(), told: Some(sender.subscribe()), path: path.clone() }
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.watched.lock().values().map(watch::Sender::receiver_count).sum()
    }

    fn tell(&self, event: &Event) {
        let watched = self.watched.lock();
        if watched.is_empty() {
            return;
        }
        let path = &event.node.path;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = ends.filter(|end| *end > 0).map(|end| &path[..end]);
        for path in above.chain([&b"/"[..], path]) {
            if let Some(sender) = watched.get(path) {
                sender.send_replace(());
            }
        }
        if event.removed_dir() {
            let below = watched.range::<Bytes, _>(path..);
            below
                .take_while(|(watched, _)| watched.starts_with(path))
                .for_each(|(_, sender)| sender.send_replace(()));
        }
    }

    fn tell_all(&self) {
        self.watched.lock().values().for_each(|sender| sender.send_replace(()));
    }
}

impl Waiter {
    /// Returns at the next notice; one that came since the last call counts. Cancel safe.
    pub(super) async fn told(&mut self) {
        if let Some(told) = &mut self.told
            && told.changed().await.is_err()
        {
            // Senders live as long as anybody waits.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.told = None;
        let mut watched = self.notices.watched.lock();
        if watched.get(&self.path).is_some_and(|sender| sender.receiver_count() == 0) {
            watched.remove(&self.path);
        }
    }
}

struct Observer {
    notices: Notices,
    other: Option<AppliedObserver>,
}

impl Observe for Observer {
    fn applied(&self, command: &Command, applied: &Applied, again: bool) {
        match &applied.result {
            Ok(Response::V2Write(Ok(event))) => self.notices.tell(event),
            Ok(Response::V2Expire(events)) => events.iter().for_each(|it| self.notices.tell(it)),
            // Nobody may go on waiting who has no right to.
            Ok(Response::AuthEnable(_)) => self.notices.tell_all(),
            _ => {}
        }
        if let Some(other) = &self.other {
            other.0.applied(command, applied, again);
        }
    }

    fn replaced(&self) {
        self.notices.tell_all();
        if let Some(other) = &self.other {
            other.0.replaced();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use store::v2::{Action, Seen};

    use super::*;

    fn event(path: &'static str, action: Action, dir: bool) -> Event {
        let node = Seen { path: path.into(), dir, ..Seen::default() };
        Event { action, prev: Some(node.clone()), node, refresh: false, now_ns: 0 }
    }

    /// Which of `paths` are told of `event`.
    fn told(paths: &[&'static str], event: &Event) -> Vec<&'static str> {
        let notices = Notices::default();
        let waiters: Vec<_> =
            paths.iter().map(|path| (*path, notices.wait(&Path::clean(path.as_bytes())))).collect();
        assert_eq!(notices.count(), paths.len());
        notices.tell(event);
        let told = waiters
            .into_iter()
            .filter_map(|(path, mut waiter)| waiter.told().now_or_never().map(|()| path));
        let told = told.collect();
        assert_eq!(notices.count(), 0);
        assert!(notices.watched.lock().is_empty(), "whoever has gone leaves nothing behind");
        told
    }

    #[test]
    fn those_above_are_told_and_those_below_a_directory_that_goes() {
        // Shows who is woken by a change: nobody beside its way to the root, and nobody below it
        // unless it took them along.
        let paths = ["/", "/a", "/a/b", "/a/b/c", "/b", "/a/bb"];
        let set = event("/a/b", Action::Set, false);
        assert_eq!(told(&paths, &set), ["/", "/a", "/a/b"]);
        let gone = event("/a/b", Action::Delete, true);
        assert_eq!(told(&["/a/b/c", "/c"], &gone), ["/a/b/c"]);
    }
}
