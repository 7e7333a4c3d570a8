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
use crate::kv::follow::{Changes, Follower, News};
use crate::kv::{Kind, Store};

/// Changes made while the view is held; questions wait for these, never for a whole list.
const CHANGES_AT_ONCE: usize = 256;
/// Between two looks at which leases are new, or still not known.
const LEASES_EVERY: Duration = Duration::from_secs(1);

/// Keeps a view up to date.
pub(super) struct Feed {
    followers: Vec<(Part, Follower)>,
    view: Arc<RwLock<View>>,
    leases: Leases,
    metrics: Metrics,
}

/// Which parts have been listed: before all that may be read are, nobody knows what does not exist.
struct Lists {
    waiting_for: Vec<Part>,
    any_listed: bool,
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
        Self { followers, view, leases, metrics }
    }

    /// Never returns.
    pub(super) async fn run(self) {
        let Self { followers, view, leases, metrics } = self;
        let mut lists = Lists::new();
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
                take(part, news, &view, &mut lists, &metrics);
                changed.notify_one();
            }
        };
        let learning = async {
            loop {
                changed.notified().await;
                while !leases.learn().await {
                    tokio::time::sleep(LEASES_EVERY).await;
                }
                tokio::time::sleep(LEASES_EVERY).await;
            }
        };
        futures::future::join(following, learning).await;
    }
}

impl Lists {
    fn new() -> Self {
        Self { waiting_for: Part::ALL.into(), any_listed: false }
    }

    fn listed(&mut self, part: Part) {
        self.waiting_for.retain(|waiting| *waiting != part);
        self.any_listed = true;
    }

    /// A part that may not be read is not waited for. Returns whether it was until now.
    fn refused(&mut self, part: Part) -> bool {
        let before = self.waiting_for.len();
        self.waiting_for.retain(|waiting| *waiting != part);
        self.waiting_for.len() < before
    }

    /// Where all is refused nothing is known, least of all that a name does not exist.
    fn are_complete(&self) -> bool {
        self.any_listed && self.waiting_for.is_empty()
    }
}

fn take(part: Part, news: News, view: &RwLock<View>, lists: &mut Lists, metrics: &Metrics) {
    match news {
        News::Changes(Changes { list, revision }) => {
            for changes in list.chunks(CHANGES_AT_ONCE) {
                view.write().apply(part, changes);
            }
            lists.listed(part);
            metrics.reached(part.name(), revision);
            let view = view.read();
            metrics.malformed(view.malformed());
            metrics.names.set(i64::try_from(view.names()).unwrap_or(i64::MAX));
        }
        News::Stale(error) => {
            metrics.stale(part.name(), true);
            if error.kind == Kind::Refused && lists.refused(part) {
                tracing::warn!(part = part.name(), "answering without what may not be read");
            }
        }
        News::Fresh => metrics.stale(part.name(), false),
    }
    if lists.are_complete() {
        view.write().is_complete = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use api::etcdserverpb::{
        DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse,
        LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse, TxnRequest, TxnResponse, WatchCreateRequest,
    };
    use api::mvccpb::KeyValue;

    use super::*;
    use crate::kv::{Answer, Error, Kv, Watch};

    /// One instance on one lease, of which the store can tell at the third attempt.
    #[derive(Default)]
    struct Forgetful {
        asked: AtomicUsize,
    }

    impl Kv for Forgetful {
        fn range(&self, request: RangeRequest) -> Answer<'_, RangeResponse> {
            let mut answer = RangeResponse::default();
            if request.key.starts_with(layout::SERVICES.as_bytes()) {
                answer.kvs.push(KeyValue {
                    key: "/services/web/1".into(),
                    value: r#"{"address":"10.0.0.1","port":80}"#.into(),
                    lease: 7,
                    ..KeyValue::default()
                });
            }
            Box::pin(async { Ok(answer) })
        }

        fn watch(&self, _: WatchCreateRequest) -> Answer<'_, Watch> {
            Box::pin(async { Ok(stream::pending().boxed()) })
        }

        fn lease_time_to_live(
            &self,
            request: LeaseTimeToLiveRequest,
        ) -> Answer<'_, LeaseTimeToLiveResponse> {
            let answer = match self.asked.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::unreachable("not now")),
                // A member that has not heard of the lease.
                1 => Ok(0),
                _ => Ok(60),
            };
            let id = request.id;
            let answer = answer.map(|granted_ttl| LeaseTimeToLiveResponse {
                id,
                granted_ttl,
                ..LeaseTimeToLiveResponse::default()
            });
            Box::pin(async { answer })
        }

        fn put(&self, _: PutRequest) -> Answer<'_, PutResponse> {
            Box::pin(async { Err(Error::unreachable("nobody writes")) })
        }

        fn delete_range(&self, _: DeleteRangeRequest) -> Answer<'_, DeleteRangeResponse> {
            Box::pin(async { Err(Error::unreachable("nobody writes")) })
        }

        fn txn(&self, _: TxnRequest) -> Answer<'_, TxnResponse> {
            Box::pin(async { Err(Error::unreachable("nobody writes")) })
        }

        fn lease_grant(&self, _: LeaseGrantRequest) -> Answer<'_, LeaseGrantResponse> {
            Box::pin(async { Err(Error::unreachable("nobody writes")) })
        }

        fn lease_keep_alive(&self, _: i64) -> Answer<'_, i64> {
            Box::pin(async { Err(Error::unreachable("nobody writes")) })
        }

        fn lease_revoke(&self, _: i64) -> Answer<'_, ()> {
            Box::pin(async { Err(Error::unreachable("nobody writes")) })
        }
    }

    #[test]
    fn what_may_not_be_read_is_not_waited_for() {
        // Proves that names are answered once all parts that may be read are listed, that a store
        // which is away is waited for, and so is one that refuses everything.
        let view = RwLock::new(View::new("/skydns"));
        let metrics = Metrics::default();
        let mut lists = Lists::new();
        let mut take = |part, news| {
            take(part, news, &view, &mut lists, &metrics);
            view.read().is_complete
        };
        let refused = || News::Stale(Error::new(Kind::Refused, "permission denied"));
        let list = || News::Changes(Changes { list: Vec::new(), revision: 1 });
        for part in [Part::ClusterServices, Part::EndpointSlices, Part::SkyDns] {
            assert!(!take(part, refused()));
        }
        assert!(!take(Part::Health, News::Stale(Error::unreachable("connection refused"))));
        assert!(!take(Part::Services, list()), "health is still to come");
        assert!(take(Part::Health, list()));
        assert!(take(Part::SkyDns, refused()), "for good");

        let view = RwLock::new(View::new("/skydns"));
        let mut lists = Lists::new();
        for part in Part::ALL {
            super::take(part, refused(), &view, &mut lists, &metrics);
        }
        assert!(!view.read().is_complete, "nothing is known");
        super::take(Part::Services, list(), &view, &mut lists, &metrics);
        assert!(view.read().is_complete);
    }

    #[tokio::test]
    async fn a_lease_is_asked_about_until_it_is_known() {
        // Proves that a lease which nobody answered for is asked about again although no key
        // changes, and that answers are short-lived until its time is known.
        let view = Arc::new(RwLock::new(View::new("/skydns")));
        assert_eq!(view.read().ttl_s(0, 300), 300, "no lease bounds it");
        assert!(view.read().ttl_s(7, 300) < 5);
        let store: Store = Arc::new(Forgetful::default());
        let feed = Feed::new(&store, "/skydns", view.clone(), Metrics::default());
        let known = async {
            while view.read().ttl_s(7, 300) != 60 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = feed.run() => unreachable!("it never returns"),
            known = tokio::time::timeout(Duration::from_secs(60), known) => known.unwrap(),
        }
    }
}
