//! A look at everything that is registered, with what only the store knows: how long leases last.

use std::collections::{BTreeMap, HashMap};

use api::etcdserverpb::LeaseTimeToLiveRequest;
use futures::StreamExt;
use serde::Serialize;

use super::catalog::Catalog;
use super::layout::{HEALTH, SERVICES, Status};
use crate::kv::follow::{Follower, News};
use crate::kv::{Error, Result, Store};

/// Leases asked about at the same time.
const LEASES_AT_ONCE: usize = 16;

/// One instance, for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub service: String,
    pub instance: String,
    pub address: String,
    pub health: Status,
    /// What the last failed check said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// Seconds since 1970.
    pub registered_at: Option<u64>,
    /// Seconds until it is gone unless somebody renews; `None`: it stays for ever.
    pub ttl_left_s: Option<i64>,
    pub tags: Vec<String>,
    pub weight: u16,
    pub metadata: BTreeMap<String, String>,
}

/// Both prefixes, followed.
pub struct Survey {
    store: Store,
    instances: Follower,
    health: Follower,
    catalog: Catalog,
    listed: [bool; 2],
}

impl Survey {
    pub fn new(store: Store) -> Self {
        let instances = Follower::new(store.clone(), SERVICES);
        let health = Follower::new(store.clone(), HEALTH);
        Self { store, instances, health, catalog: Catalog::default(), listed: [false; 2] }
    }

    /// Waits for the first look, then for the next change. Cancel safe.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses. Asking again waits until it is back.
    pub async fn changed(&mut self) -> Result<()> {
        loop {
            let (at, news) = tokio::select! {
                news = self.instances.next() => (0, news),
                news = self.health.next() => (1, news),
            };
            match news {
                News::Changes(changes) => {
                    for change in &changes.list {
                        self.catalog.apply(change);
                    }
                    self.listed[at] = true;
                }
                News::Stale(error) => return Err(error),
                News::Fresh => {}
            }
            if self.listed == [true; 2] {
                return Ok(());
            }
        }
    }

    /// All instances, or those of one service, by name.
    ///
    /// # Errors
    /// The store cannot be asked for the leases.
    pub async fn rows(&self, service: Option<&str>) -> Result<Vec<Row>> {
        let mut services: Vec<&str> = match service {
            Some(service) => vec![service],
            None => self.catalog.services().collect(),
        };
        services.sort_unstable();
        let left = self.leases(&services).await?;
        let rows = services.iter().flat_map(|service| {
            self.catalog.instances(service).map(|(name, entry, registered)| Row {
                service: (*service).to_owned(),
                instance: name.to_owned(),
                address: std::net::SocketAddr::new(
                    registered.instance.address,
                    registered.instance.port,
                )
                .to_string(),
                health: entry.status(),
                output: entry
                    .health
                    .as_ref()
                    .map(|health| health.output.clone())
                    .unwrap_or_default(),
                registered_at: registered.instance.registered_at,
                ttl_left_s: left.get(&registered.lease).copied(),
                tags: registered.instance.tags.clone(),
                weight: registered.instance.weight,
                metadata: registered.instance.metadata.clone(),
            })
        });
        Ok(rows.collect())
    }

    /// Seconds left of every lease that holds an instance.
    async fn leases(&self, services: &[&str]) -> Result<HashMap<i64, i64>> {
        let all = services.iter().flat_map(|service| self.catalog.instances(service));
        let mut leases: Vec<i64> =
            all.map(|(_, _, registered)| registered.lease).filter(|lease| *lease != 0).collect();
        leases.sort_unstable();
        leases.dedup();
        let left = |id| async move {
            let request = LeaseTimeToLiveRequest { id, keys: false };
            self.store.lease_time_to_live(request).await.map(|answer| (id, answer.ttl.max(0)))
        };
        let answers: Vec<_> = futures::stream::iter(leases)
            .map(left)
            .buffer_unordered(LEASES_AT_ONCE)
            .collect()
            .await;
        answers.into_iter().collect::<std::result::Result<_, Error>>()
    }
}
