//! Who waits for changes, and is told to look.
//!
//! A notice says no more than from which index on there may be something: what it is stands in the
//! history, where everybody reads at their own pace. So the task that applies never waits for
//! anybody, and whoever is slow holds nothing. The index matters to who waits long: the history may
//! have passed the place that they looked at last, with nothing lost for them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use api::berthpb::Command;
use bytes::Bytes;
use parking_lot::Mutex;
use raft::{AppliedObserver, Observe};
use store::v2::{Event, Path};
use store::{Applied, Response};
use tokio::sync::Notify;

/// Clones share it.
#[derive(Clone, Default)]
pub struct Notices {
    watched: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    /// By the path that they watch, and their number.
    waiters: BTreeMap<(Bytes, u64), Arc<Notice>>,
    last: u64,
}

/// What one who waits was told since they looked last.
#[derive(Default)]
struct Notice {
    /// Where to look: the index of the first change. `None`: wherever they are.
    first: Mutex<Option<u64>>,
    /// Holds a permit while something was told.
    told: Notify,
}

/// Somebody who waits.
pub(super) struct Waiter {
    notices: Notices,
    key: (Bytes, u64),
    notice: Arc<Notice>,
}

impl Notices {
    /// Whom the node must tell what it applies; `other` is told as well.
    pub fn observer(&self, other: Option<AppliedObserver>) -> AppliedObserver {
        AppliedObserver(Arc::new(Observer { notices: self.clone(), other }))
    }

    pub(super) fn wait(&self, path: &Path) -> Waiter {
        let notice = Arc::new(Notice::default());
        let mut watched = self.watched.lock();
        watched.last += 1;
        let key = (path.as_bytes().clone(), watched.last);
        watched.waiters.insert(key.clone(), notice.clone());
        Waiter { notices: self.clone(), key, notice }
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.watched.lock().waiters.len()
    }

    fn tell(&self, event: &Event) {
        let waiters = &self.watched.lock().waiters;
        if waiters.is_empty() {
            return;
        }
        let path = &event.node.path;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = ends.filter(|end| *end > 0).map(|end| path.slice(..end));
        for path in above.chain([Bytes::from_static(b"/"), path.clone()]) {
            waiters.range(everybody(path)).for_each(|(_, notice)| notice.tell(event.index()));
        }
        if event.removed_dir() {
            let below = waiters.range((path.clone(), 0)..);
            below
                .take_while(|((watched, _), _)| watched.starts_with(path))
                .for_each(|(_, notice)| notice.tell(event.index()));
        }
    }

    fn tell_all(&self) {
        self.watched.lock().waiters.values().for_each(|notice| notice.told.notify_one());
    }
}

/// Who watches a path.
fn everybody(path: Bytes) -> RangeInclusive<(Bytes, u64)> {
    (path.clone(), 0)..=(path, u64::MAX)
}

impl Notice {
    fn tell(&self, index: u64) {
        self.first.lock().get_or_insert(index);
        self.told.notify_one();
    }
}

impl Waiter {
    /// Returns at the next notice, with the index of the first change that it is about, if it is
    /// about any; a notice that came since the last call counts. Cancel safe.
    pub(super) async fn told(&mut self) -> Option<u64> {
        self.notice.told.notified().await;
        self.notice.first.lock().take()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.notices.watched.lock().waiters.remove(&self.key);
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
        let node = Seen { path: path.into(), dir, modified: 7, ..Seen::default() };
        Event { action, prev: Some(node.clone()), node, refresh: false, now_ns: 0 }
    }

    /// Which of `paths` are told of `event`.
    fn told(paths: &[&'static str], event: &Event) -> Vec<&'static str> {
        let notices = Notices::default();
        let waiters: Vec<_> =
            paths.iter().map(|path| (*path, notices.wait(&Path::clean(path.as_bytes())))).collect();
        assert_eq!(notices.count(), paths.len());
        notices.tell(event);
        let told = waiters.into_iter().filter_map(|(path, mut waiter)| {
            let from = waiter.told().now_or_never()?;
            assert_eq!(from, Some(7), "where to look");
            Some(path)
        });
        let told = told.collect();
        assert_eq!(notices.count(), 0, "whoever has gone leaves nothing behind");
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

    #[test]
    fn the_first_change_since_the_last_look_is_told() {
        // Proves that two who wait for one path are told each for themselves, of the first of
        // several changes, and of nothing twice; and that a notice without a change is one too.
        let notices = Notices::default();
        let path = Path::clean(b"/a");
        let [mut one, mut other] = [notices.wait(&path), notices.wait(&path)];
        let mut event = event("/a", Action::Set, false);
        notices.tell(&event);
        assert_eq!(one.told().now_or_never(), Some(Some(7)));
        event.node.modified = 8;
        notices.tell(&event);
        assert_eq!(one.told().now_or_never(), Some(Some(8)));
        assert_eq!(other.told().now_or_never(), Some(Some(7)));
        assert_eq!(other.told().now_or_never(), None);
        notices.tell_all();
        assert_eq!(other.told().now_or_never(), Some(None));
    }
}
