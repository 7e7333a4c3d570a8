//! From the followed keys into the view.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::cluster;
use super::leases::Leases;
use super::metrics::Metrics;
use super::view::{Part, View};
use crate::discovery::layout;
use crate::kv::Store;
use crate::kv::follow::{Changes, Follower, News};

/// Changes made while the view is held; questions wait for these, never for a whole list.
const CHANGES_AT_ONCE: usize = 256;
/// Between two looks at which leases are new.
const LEASES_EVERY: Duration = Duration::from_secs(1);

/// Keeps a view up to date.
pub(super) struct Feed {
    followers: Vec<(Part, Follower)>,
    waiting_for: Vec<Part>,
    view: Arc<RwLock<View>>,
    leases: Leases,
    metrics: Metrics,
}

impl Feed {
    pub(super) fn new(
        store: &Store,
        skydns_path: &str,
        view: Arc<RwLock<View>>,
        metrics: Metrics,
    ) -> Self {
        let prefix = |part| match part {
            Part::Services => layout::SERVICES.to_owned(),
            Part::Health => layout::HEALTH.to_owned(),
            Part::ClusterServices => cluster::SERVICES.to_owned(),
            Part::EndpointSlices => cluster::SLICES.to_owned(),
            Part::SkyDns => format!("{}/", skydns_path.trim_end_matches('/')),
        };
        let follow = |part| (part, Follower::new(store.clone(), prefix(part)));
        let leases = Leases::new(store.clone(), view.clone());
        let followers = Part::ALL.map(follow).into();
        Self { followers, waiting_for: Part::ALL.into(), view, leases, metrics }
    }

    /// Never returns.
    pub(super) async fn run(self) {
        let Self { followers, mut waiting_for, view, leases, metrics } = self;
        let changed = Notify::new();
        let following = async {
            let news = followers.into_iter().map(|(part, follower)| {
                let next = move |mut follower: Follower| async move {
                    let news = follower.next().await;
                    Some(((part, news), follower))
                };
                stream::unfold(follower, next).boxed()
            });
            let mut news = stream::select_all(news);
            while let Some((part, news)) = news.next().await {
                take(part, news, &view, &mut waiting_for, &metrics);
                changed.notify_one();
            }
        };
        let learning = async {
            loop {
                changed.notified().await;
                leases.learn().await;
                tokio::time::sleep(LEASES_EVERY).await;
            }
        };
        futures::future::join(following, learning).await;
    }
}

fn take(
    part: Part,
    news: News,
    view: &RwLock<View>,
    waiting_for: &mut Vec<Part>,
    metrics: &Metrics,
) {
    match news {
        News::Changes(Changes { list, revision }) => {
            for changes in list.chunks(CHANGES_AT_ONCE) {
                let mut view = view.write();
                changes.iter().for_each(|change| view.apply(part, change));
            }
            waiting_for.retain(|waiting| *waiting != part);
            if waiting_for.is_empty() {
                view.write().is_complete = true;
            }
            metrics.reached(part.name(), revision);
            let view = view.read();
            metrics.malformed(view.malformed());
            metrics.names.set(i64::try_from(view.names()).unwrap_or(i64::MAX));
        }
        News::Stale(_) => metrics.stale(part.name(), true),
        News::Fresh => metrics.stale(part.name(), false),
    }
}
