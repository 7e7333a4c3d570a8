//! Following a prefix: what is there, then every change, without gap or repeat.
//!
//! A follower lists once, then watches from the next revision. It goes on by itself after a lost
//! connection (from where it was), after a compaction below its position, and after the store was
//! replaced by an older copy (it lists again and passes on the differences alone).

use std::collections::HashMap;
use std::time::Duration;

use api::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchResponse};
use api::mvccpb::event::EventType;
use api::mvccpb::{Event, KeyValue};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::pause::Pause;
use super::{Error, Kind, Result, Store, keys};

/// Keys asked for at a time.
const PAGE_KEYS: i64 = 1000;
/// News that may wait for a slow reader; then the store's own flow control holds the watch.
const WAITING_MAX: usize = 64;
/// A watch that lasted so long was a success.
const STEADY: Duration = Duration::from_secs(1);

/// What a follower tells.
#[derive(Clone, Debug)]
pub enum News {
    /// What is now different. The first of these, which may be empty, is the whole prefix.
    Changes(Changes),
    /// The store cannot be followed at this moment, for this reason; what is known stays. Told
    /// again when the kind of the reason changes: who waits out a member that is down may give up
    /// on a refusal.
    Stale(Error),
    /// It can again. Whatever was missed follows or has come already.
    Fresh,
}

/// Changes that belong together.
#[derive(Clone, Debug)]
pub struct Changes {
    pub list: Vec<Change>,
    /// The revision of the store that they lead to.
    pub revision: i64,
}

/// One key that changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Put(KeyValue),
    Delete(Bytes),
}

impl Change {
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete(key) => key,
        }
    }
}

/// A prefix that is being followed, as long as this lives.
#[derive(Debug)]
pub struct Follower {
    news: mpsc::Receiver<News>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Begins to follow all keys with `prefix`. Must be called within a runtime.
    pub fn new(store: Store, prefix: impl Into<Bytes>) -> Self {
        let (sender, news) = mpsc::channel(WAITING_MAX);
        let follow = Follow {
            store,
            prefix: prefix.into(),
            known: HashMap::new(),
            revision: None,
            stale: None,
            established: None,
            news: sender,
        };
        Self { news, task: tokio::spawn(follow.run()) }
    }

    /// The next news. Cancel safe; waits for ever while nothing changes.
    pub async fn next(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // The task ends with this receiver, or with the runtime.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follow {
    store: Store,
    prefix: Bytes,
    /// Each key that was told of, with the revision it was told at.
    known: HashMap<Bytes, i64>,
    /// Everything up to here has been told. `None`: the prefix must be listed.
    revision: Option<i64>,
    /// The kind of trouble that was told last; `None`: it follows.
    stale: Option<Kind>,
    /// When the watch of this session was in place; `None`: it never was.
    established: Option<Instant>,
    news: mpsc::Sender<News>,
}

impl Follow {
    async fn run(mut self) {
        let mut pause = Pause::default();
        while !self.news.is_closed() {
            self.established = None;
            let Err(error) = self.session().await;
            // Only a watch that lasted: failing can take long too.
            if self.established.is_some_and(|at| at.elapsed() > STEADY) {
                pause.reset();
            }
            if error.kind == Kind::Compacted {
                tracing::info!(prefix = %lossy(&self.prefix), "listing again: {error}");
                self.revision = None;
            } else if pause.failures() > 0 {
                self.tell_stale(error).await;
            }
            pause.wait().await;
        }
    }

    /// Catches up and follows until something goes wrong.
    async fn session(&mut self) -> Result<std::convert::Infallible> {
        let from = match self.revision {
            Some(revision) if !self.went_back(revision).await? => revision,
            _ => self.list().await?,
        };
        let all = keys::range(&self.prefix);
        let create = WatchCreateRequest {
            key: all.key,
            range_end: all.range_end,
            start_revision: from + 1,
            progress_notify: true,
            ..WatchCreateRequest::default()
        };
        let mut watch = self.store.watch(create).await?;
        self.established = Some(Instant::now());
        self.tell_fresh().await;
        while let Some(answer) = watch.next().await {
            self.take(answer?).await;
        }
        Err(Error::unreachable("the watch has ended"))
    }

    /// Whether the store is at an earlier revision than was seen: somebody put an old copy of it
    /// in its place, and what was told since then never happened.
    async fn went_back(&self, seen: i64) -> Result<bool> {
        let request = RangeRequest { count_only: true, ..keys::range(&self.prefix) };
        let answer = self.store.range(request).await?;
        Ok(answer.header.is_some_and(|header| header.revision < seen))
    }

    /// Lists the prefix at one revision and tells what differs from what is known.
    async fn list(&mut self) -> Result<i64> {
        let mut found: Vec<KeyValue> = Vec::new();
        let mut request = RangeRequest { limit: PAGE_KEYS, ..keys::range(&self.prefix) };
        loop {
            let answer = self.store.range(request.clone()).await?;
            if request.revision == 0 {
                request.revision = answer.header.as_ref().map_or(0, |header| header.revision);
            }
            found.extend(answer.kvs);
            let Some(last) = found.last().filter(|_| answer.more) else { break };
            let mut next = last.key.to_vec();
            next.push(0);
            request.key = next.into();
        }
        let list = self.differences(found);
        self.revision = Some(request.revision);
        self.tell(News::Changes(Changes { list, revision: request.revision })).await;
        Ok(request.revision)
    }

    /// Takes note of all that is there, and returns what was not known.
    fn differences(&mut self, found: Vec<KeyValue>) -> Vec<Change> {
        let now: HashMap<Bytes, i64> =
            found.iter().map(|kv| (kv.key.clone(), kv.mod_revision)).collect();
        let before = std::mem::replace(&mut self.known, now);
        let mut gone: Vec<Bytes> =
            before.keys().filter(|key| !self.known.contains_key(*key)).cloned().collect();
        gone.sort_unstable();
        let new = found.into_iter().filter(|kv| before.get(&kv.key) != Some(&kv.mod_revision));
        gone.into_iter().map(Change::Delete).chain(new.map(Change::Put)).collect()
    }

    /// Takes one answer of the watch.
    async fn take(&mut self, answer: WatchResponse) {
        let last = answer.events.iter().filter_map(|event| event.kv.as_ref()).last();
        let reached = match last {
            Some(kv) => kv.mod_revision,
            // Nothing of this prefix up to here: less to look through after a lost connection.
            None => answer.header.as_ref().map_or(0, |header| header.revision),
        };
        let list: Vec<Change> =
            answer.events.into_iter().filter_map(|event| self.note(event)).collect();
        self.revision = self.revision.max(Some(reached));
        if !list.is_empty() {
            self.tell(News::Changes(Changes { list, revision: reached })).await;
        }
    }

    fn note(&mut self, event: Event) -> Option<Change> {
        let is_put = event.r#type() == EventType::Put;
        let kv = event.kv?;
        if is_put {
            self.known.insert(kv.key.clone(), kv.mod_revision);
            return Some(Change::Put(kv));
        }
        self.known.remove(&kv.key);
        Some(Change::Delete(kv.key))
    }

    async fn tell_stale(&mut self, error: Error) {
        if self.stale != Some(error.kind) {
            self.stale = Some(error.kind);
            tracing::warn!(prefix = %lossy(&self.prefix), "cannot follow the store: {error}");
            self.tell(News::Stale(error)).await;
        }
    }

    async fn tell_fresh(&mut self) {
        if self.stale.take().is_some() {
            tracing::info!(prefix = %lossy(&self.prefix), "following the store again");
            self.tell(News::Fresh).await;
        }
    }

    async fn tell(&self, news: News) {
        // Nobody listens any more: `run` sees it.
        let _ = self.news.send(news).await;
    }
}

fn lossy(key: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::testing::Fake;

    #[tokio::test]
    async fn a_store_that_fails_slowly_is_stale() {
        // Proves that tries which take longer than a watch must last are failures all the same.
        let store = Fake::refusing(STEADY + Duration::from_millis(100));
        let mut follower = Follower::new(store, "/a");
        let news = tokio::time::timeout(Duration::from_secs(60), follower.next()).await;
        assert!(matches!(news, Ok(News::Stale(_))), "{news:?}");
    }

    #[tokio::test]
    async fn another_kind_of_trouble_is_told_and_the_same_is_not() {
        // Proves that a follower whose store first cannot be reached and then refuses tells both,
        // each once however often it fails.
        let (store, kind) = Fake::failing(Kind::Unreachable);
        let mut follower = Follower::new(store, "/a");
        let mut next = async |patience| match tokio::time::timeout(
            Duration::from_secs(patience),
            follower.next(),
        )
        .await
        {
            Ok(News::Stale(error)) => Some(error.kind),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        assert_eq!(next(60).await, Some(Kind::Unreachable));
        assert_eq!(next(2).await, None, "told once");
        kind.send_replace(Kind::Refused);
        assert_eq!(next(60).await, Some(Kind::Refused));
        assert_eq!(next(2).await, None, "told once");
    }
}
