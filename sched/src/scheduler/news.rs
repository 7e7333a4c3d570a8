//! What the store says: nodes, pods, namespaces and disruption budgets, as they change.

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::pod::{PodInfo, PodKey};
use super::preempt::Budget;
use super::run::{Scheduler, Unbound};
use super::select::Selector;
use crate::kv::follow::{Change, Changes, Follower, News};
use crate::objects::Objects;

/// Everything that is followed.
pub(super) struct Feeds {
    pods: Feed,
    nodes: Feed,
    namespaces: Feed,
    budgets: Feed,
    /// What the disruption budgets allow, by key.
    allowed: BTreeMap<Vec<u8>, Budget>,
}

struct Feed {
    follower: Follower,
    prefix: usize,
    is_complete: bool,
}

impl Feed {
    fn new(objects: &Objects, prefix: Vec<u8>) -> Self {
        let length = prefix.len();
        let follower = Follower::new(objects.store().clone(), prefix);
        Self { follower, prefix: length, is_complete: false }
    }

    async fn next(&mut self) -> Changes {
        loop {
            if let News::Changes(changes) = self.follower.next().await {
                self.is_complete = true;
                return changes;
            }
        }
    }
}

/// Changes of one kind.
pub(super) enum Fresh {
    Pods(Changes),
    Nodes(Changes),
    Namespaces(Changes),
    Budgets(Changes),
}

impl Feeds {
    pub(super) fn new(objects: &Objects) -> Self {
        Self {
            pods: Feed::new(objects, Objects::prefix::<Pod>(None)),
            nodes: Feed::new(objects, Objects::prefix::<Node>(None)),
            namespaces: Feed::new(objects, Objects::prefix::<Namespace>(None)),
            budgets: Feed::new(objects, Objects::prefix::<PodDisruptionBudget>(None)),
            allowed: BTreeMap::new(),
        }
    }

    /// Whether all of each kind has been read.
    pub(super) fn is_complete(&self) -> bool {
        [&self.pods, &self.nodes, &self.namespaces, &self.budgets]
            .iter()
            .all(|feed| feed.is_complete)
    }

    /// The next changes. Cancel safe.
    pub(super) async fn next(&mut self) -> Fresh {
        tokio::select! {
            changes = self.nodes.next() => Fresh::Nodes(changes),
            changes = self.pods.next() => Fresh::Pods(changes),
            changes = self.namespaces.next() => Fresh::Namespaces(changes),
            changes = self.budgets.next() => Fresh::Budgets(changes),
        }
    }
}

impl Scheduler {
    /// Takes note of changes. False: the store is at an earlier revision than before.
    pub(super) fn take(&mut self, fresh: Fresh) -> bool {
        match fresh {
            Fresh::Pods(changes) => {
                let prefix = self.feeds.pods.prefix;
                changes.list.iter().for_each(|change| self.take_pod(prefix, change));
                if changes.revision < self.known {
                    return false;
                }
                self.known = changes.revision;
            }
            Fresh::Nodes(changes) => {
                let prefix = self.feeds.nodes.prefix;
                changes.list.iter().for_each(|change| self.take_node(prefix, change));
                self.nodes_known = self.nodes_known.max(changes.revision);
                self.wants_wake = true;
            }
            Fresh::Namespaces(changes) => {
                for change in &changes.list {
                    if let Some(namespace) = read::<Namespace>(change) {
                        let name = namespace.metadata.name.unwrap_or_default();
                        let labels = namespace.metadata.labels.unwrap_or_default();
                        self.planner.set_namespace(&name, labels);
                    }
                }
                self.wants_wake = true;
            }
            Fresh::Budgets(changes) => {
                for change in &changes.list {
                    match read::<PodDisruptionBudget>(change) {
                        Some(budget) => {
                            self.feeds.allowed.insert(change.key().to_vec(), allowed(&budget));
                        }
                        None => drop(self.feeds.allowed.remove(change.key().as_ref())),
                    }
                }
                self.planner.set_budgets(self.feeds.allowed.values().cloned().collect());
                self.wants_wake = true;
            }
        }
        true
    }

    fn take_node(&mut self, prefix: usize, change: &Change) {
        let name = String::from_utf8_lossy(&change.key()[prefix..]).into_owned();
        match (change, read::<Node>(change)) {
            (Change::Put(kv), Some(mut node)) => {
                self.nodes.insert(Arc::from(&*name), kv.mod_revision);
                node.metadata.name = Some(name);
                self.planner.set_node(&node);
            }
            _ => {
                self.nodes.remove(&*name);
                self.planner.remove_node(&name);
            }
        }
    }

    fn take_pod(&mut self, prefix: usize, change: &Change) {
        let name = String::from_utf8_lossy(&change.key()[prefix..]);
        let Some((namespace, name)) = name.split_once('/') else { return };
        let key = PodKey::new(namespace, name);
        let Change::Put(kv) = change else { return self.lose_pod(&key) };
        let Some(mut pod) = read::<Pod>(change) else { return self.lose_pod(&key) };
        pod.metadata.namespace = Some(namespace.to_owned());
        pod.metadata.name = Some(name.to_owned());
        let is_mine = pod.spec.as_ref().is_some_and(|spec| {
            let name = spec.scheduler_name.as_deref().filter(|name| !name.is_empty());
            name.unwrap_or("default-scheduler") == self.settings.name
        });
        let info = PodInfo::new(&pod);
        let is_waiting = info.node.is_none() && !info.is_done && !info.is_terminating;
        let was_placed = self.planner.node_of(&key).is_some();
        let (priority, created_s) = (info.shape.priority, info.created_s);
        let (is_gated, is_bound) = (info.is_gated, info.node.is_some() && !info.is_done);
        let uid = info.uid.clone();
        self.planner.set_pod_info(info);
        if is_mine && is_waiting && !is_gated {
            let unbound = Unbound { revision: kv.mod_revision, document: kv.value.clone(), uid };
            self.pods.insert(key.clone(), unbound);
            if self.planner.node_of(&key).is_none() && !self.is_late(&key) {
                self.queue.add(&key, priority, created_s);
            }
            return;
        }
        self.pods.remove(&key);
        self.queue.remove(&key);
        self.teller.forget(&key);
        if is_mine && is_waiting && is_gated {
            let reason = "Scheduling is blocked due to non-empty scheduling gates";
            self.teller.say_gated(&key, reason);
        }
        if was_placed && !is_bound {
            self.wants_wake = true;
        } else if !was_placed && is_bound {
            self.queue.wake_dependent();
        }
    }

    fn lose_pod(&mut self, key: &PodKey) {
        if self.planner.node_of(key).is_some() {
            self.wants_wake = true;
        }
        self.planner.remove_pod(key);
        self.pods.remove(key);
        self.queue.remove(key);
        self.teller.forget(key);
        self.forget_way(key);
    }
}

fn allowed(budget: &PodDisruptionBudget) -> Budget {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let status = budget.status.as_ref();
    Budget {
        namespace: budget.metadata.namespace.clone().unwrap_or_default(),
        selector: Selector::new(selector),
        allowed: status.map_or(0, |status| i64::from(status.disruptions_allowed)),
    }
}

/// The object of a change; `None`: it is gone, or cannot be read.
fn read<T: DeserializeOwned>(change: &Change) -> Option<T> {
    let Change::Put(kv) = change else { return None };
    match serde_json::from_slice(&kv.value) {
        Ok(object) => Some(object),
        Err(error) => {
            let key = String::from_utf8_lossy(&kv.key);
            tracing::warn!(%key, "an object is passed over by the scheduler: {error}");
            None
        }
    }
}
