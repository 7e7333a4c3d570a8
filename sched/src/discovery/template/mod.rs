//! Files that follow keys: what confd does, with minijinja templates.
//!
//! A resource names a template, a file to write, and the keys it is made of. Whenever one of them
//! changes, the file is rendered beside the old one, checked, put in its place in one step, and
//! whoever reads it is told. It must never leave half a file or an unchecked one: if anything goes
//! wrong the old file stays, and the log says why.
//!
//! Start at [`run`]; `resource.rs` reads resources, `functions.rs` is what templates can call,
//! `lookup.rs` of that what asks DNS,
//! `values.rs` what they look at, `stage.rs` puts files in place, `apply.rs` is all steps of one.

mod apply;
mod commands;
mod functions;
mod lookup;
mod metrics;
mod render;
mod resource;
mod sealed;
mod stage;
mod text;
mod values;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

pub use self::apply::Outcome;
pub use self::lookup::Helpers;
pub use self::metrics::Metrics;
pub use self::resource::Resource;
use self::values::Values;
use crate::kv::follow::{Changes, Follower, News};
use crate::kv::{Error, Result, Store, range};

/// Changes that come within this time of each other make one file and one reload...
const BURST: Duration = Duration::from_millis(50);
/// ... but nobody waits longer than this for the first of them.
const BURST_MAX: Duration = Duration::from_millis(500);
/// Between two tries to bring a file into place that was refused.
const RETRY: Duration = Duration::from_secs(5);

/// Reads all resources of a confd directory: `DIR/conf.d/*.toml`, templates in `DIR/templates`.
///
/// `prefix` stands before every resource's own; `helpers` are for all of them.
///
/// # Errors
/// One line that names the file and what is wrong with it. There must be at least one resource.
pub fn load(
    directory: &Path,
    prefix: &str,
    helpers: Helpers,
) -> std::result::Result<Vec<Resource>, String> {
    resource::load(directory, prefix, &Arc::new(helpers))
}

/// Renders every resource once, from one look at the store at one revision. The outcomes are in the
/// order of the resources. `None`: `stop` resolved before the store was read; later it is not looked
/// at, because what was begun must be told to whoever reads the file.
///
/// # Errors
/// The store cannot be read.
pub async fn once(
    store: &Store,
    resources: &[Resource],
    noop: bool,
    stop: impl Future<Output = ()>,
) -> Result<Option<Vec<std::result::Result<Outcome, String>>>> {
    let values = tokio::select! {
        values = look(store, resources) => values?,
        () = stop => return Ok(None),
    };
    let mut outcomes = Vec::new();
    for resource in resources {
        outcomes.push(resource.apply(&values, noop, &mut false).await);
    }
    Ok(Some(outcomes))
}

/// All keys of all resources, at one revision.
async fn look(store: &Store, resources: &[Resource]) -> Result<Values> {
    let mut values = Values::default();
    let mut revision = 0;
    for prefix in prefixes(resources) {
        let request = api::etcdserverpb::RangeRequest { revision, ..range(prefix.as_bytes()) };
        let answer = store.range(request).await?;
        if revision == 0 {
            revision = answer.header.as_ref().map_or(0, |header| header.revision);
        }
        answer.kvs.iter().for_each(|kv| values.put(kv));
    }
    Ok(values)
}

/// Keeps all files up to date until `stop` resolves; what was begun then is brought to its end. What
/// goes wrong is logged and counted, and tried again.
pub async fn run(
    store: &Store,
    resources: &[Resource],
    noop: bool,
    metrics: &Metrics,
    stop: impl Future<Output = ()>,
) {
    let followers = prefixes(resources).into_iter().map(|prefix| {
        let follower = Follower::new(store.clone(), prefix.clone());
        let next = move |(prefix, mut follower): (String, Follower)| async move {
            let news = follower.next().await;
            Some(((prefix.clone(), news), (prefix, follower)))
        };
        stream::unfold((prefix, follower), next).boxed()
    });
    let mut watch = Watch {
        resources,
        noop,
        metrics,
        values: Values::default(),
        listed: BTreeMap::new(),
        due: vec![true; resources.len()],
        unread: vec![false; resources.len()],
        since: None,
        retry: None,
    };
    let mut news = stream::select_all(followers);
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            Some((prefix, news)) = news.next() => watch.take(&prefix, news),
            // A file in place whose reader was not told would never be reloaded.
            () = watch.wait() => watch.apply().await,
            () = &mut stop => return,
        }
    }
}

/// Prefixes that cover all keys that any resource is made of, each key once: of two that follow the
/// same key one may be ahead, and would see the other take it back.
fn prefixes(resources: &[Resource]) -> Vec<String> {
    disjoint(resources.iter().flat_map(Resource::prefixes).collect())
}

fn disjoint(mut all: Vec<String>) -> Vec<String> {
    all.sort_unstable();
    // What begins with another one comes after it.
    all.dedup_by(|later, kept| later.starts_with(kept.as_str()));
    all
}

struct Watch<'a> {
    resources: &'a [Resource],
    noop: bool,
    metrics: &'a Metrics,
    values: Values,
    /// Prefixes that have been listed.
    listed: BTreeMap<String, i64>,
    /// Which resources are to be rendered.
    due: Vec<bool>,
    /// Which files are in place although they could not be loaded.
    unread: Vec<bool>,
    /// The first and the last change that has not been rendered.
    since: Option<(Instant, Instant)>,
    /// When what failed is tried again.
    retry: Option<Instant>,
}

impl Watch<'_> {
    fn take(&mut self, prefix: &str, news: News) {
        match news {
            News::Changes(Changes { list, revision }) => {
                list.iter().for_each(|change| self.values.apply(change));
                self.listed.insert(prefix.to_owned(), revision);
                self.metrics.reached(prefix, revision);
                for (due, resource) in self.due.iter_mut().zip(self.resources) {
                    *due |= list.iter().any(|change| resource.is_made_of(change.key()));
                }
                let now = Instant::now();
                self.since = Some((self.since.map_or(now, |(first, _)| first), now));
            }
            News::Stale(error) => self.stale(prefix, Some(&error)),
            News::Fresh => self.stale(prefix, None),
        }
    }

    fn stale(&self, prefix: &str, error: Option<&Error>) {
        self.metrics.stale(prefix, error.is_some());
    }

    /// Until it is time to render. Waits for ever before everything has been listed once: a file
    /// made of half the keys would send everybody away.
    async fn wait(&self) {
        let all = prefixes(self.resources);
        if !all.iter().all(|prefix| self.listed.contains_key(prefix)) {
            return std::future::pending().await;
        }
        let burst = self.since.map(|(first, last)| (last + BURST).min(first + BURST_MAX));
        match [burst, self.retry].into_iter().flatten().min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    async fn apply(&mut self) {
        self.since = None;
        self.retry = None;
        for (at, resource) in self.resources.iter().enumerate() {
            if !std::mem::take(&mut self.due[at]) {
                continue;
            }
            let outcome = resource.apply(&self.values, self.noop, &mut self.unread[at]).await;
            self.metrics.applied(resource, outcome.is_ok());
            match outcome {
                Ok(outcome) => outcome.tell(resource),
                Err(reason) => {
                    tracing::error!(dest = %resource.dest().display(), "{reason}");
                    self.due[at] = true;
                    self.retry = Some(Instant::now() + RETRY);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_followed_twice() {
        // Proves that what lies below another prefix is left to that one, and nothing else is.
        let all = ["/app/web", "/app", "/app", "/b/", "/apple", "/ap2", "/b/c"];
        let all = all.map(str::to_owned).to_vec();
        assert_eq!(disjoint(all), ["/ap2", "/app", "/b/"]);
    }
}
