//! What the scheduler writes: bindings, and that pods have to make way.

use std::sync::Arc;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodCondition};

use super::bind::{self, Binding, Bound, Target};
use super::pod::PodKey;
use super::preempt::Preemption;
use super::run::{Outcome, Unbound};
use crate::kv::{Kind, Pause};
use crate::objects::events::{Recorder, Severity};
use crate::objects::{Delete, ErrorKind, Objects, clock};

/// Pods that are told to go at a time.
const LEAVING_MAX: usize = 8;

pub(super) struct Writer {
    objects: Objects,
    events: Recorder,
}

/// What an event of a pod is about.
pub(super) fn about(key: &PodKey, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(key.name.to_string()),
        namespace: Some(key.namespace.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

impl Writer {
    pub(super) fn new(objects: Objects, name: &str) -> Self {
        let events = Recorder::new(objects.clone(), name, None);
        Self { objects, events }
    }

    /// Binds pods to a node, each with the event that tells of it, in one transaction.
    pub(super) async fn bind(
        &self,
        node: Arc<str>,
        revision: i64,
        known: i64,
        pods: Vec<(PodKey, Unbound)>,
    ) -> Outcome {
        let target = Target { name: node.to_string(), revision, known };
        let keys: Vec<PodKey> = pods.iter().map(|(key, _)| key.clone()).collect();
        let mut bindings = Vec::new();
        for (key, pod) in pods {
            let message = format!("Successfully assigned {key} to {node}");
            let about = about(&key, &pod.uid);
            let event = self.events.beside(&about, Severity::Normal, "Scheduled", &message);
            // Without the event rather than not at all.
            let beside = event.await.ok();
            let Unbound { revision, document, .. } = pod;
            bindings.push(Binding { key, revision, document, beside });
        }
        let request = match bind::request(&target, &bindings, &clock::text(clock::now())) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%node, "a pod that was read cannot be written: {error}");
                return self.unsure(node, keys).await;
            }
        };
        match self.objects.store().txn(request).await {
            Ok(answer) => match bind::outcome(&answer) {
                Bound::Yes(revision) => Outcome::Bound { node, revision },
                Bound::No(lost) => Outcome::Lost { node, pods: keys, lost },
            },
            Err(error) => {
                tracing::warn!(%node, "pods may not be bound, looking again: {error}");
                if error.kind == Kind::NoLease {
                    self.events.forget_lease().await;
                }
                self.unsure(node, keys).await
            }
        }
    }

    /// Looks how the pods are, as soon as somebody answers.
    async fn unsure(&self, node: Arc<str>, keys: Vec<PodKey>) -> Outcome {
        let mut pods = Vec::new();
        for key in keys {
            let mut pause = Pause::default();
            // Once more at least, so that an answer that was lost has had its time.
            pause.wait().await;
            let found = loop {
                pause.wait().await;
                match self.objects.get::<Pod>(Some(&key.namespace), &key.name).await {
                    Ok(found) => break found,
                    Err(error) if error.is_passing() => {}
                    Err(error) => {
                        tracing::warn!(pod = %key, "cannot be read: {error}");
                        break None;
                    }
                }
            };
            let spec = found.and_then(|found| found.object.spec);
            pods.push((key, spec.is_some_and(|spec| spec.node_name.is_some())));
        }
        Outcome::Unsure { node, pods }
    }

    /// Tells pods to go so that another has room, and says for whom the room is. False: not all
    /// could be told.
    pub(super) async fn make_way(&self, key: &PodKey, uid: &str, way: &Preemption) -> bool {
        let node = way.node.to_string();
        let nominate = |pod: &mut Pod| {
            let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            let status = pod.status.get_or_insert_default();
            let before = status.nominated_node_name.replace(node.clone());
            !is_bound && before.as_ref() != Some(&node)
        };
        let nominated = self.objects.modify::<Pod>(Some(&key.namespace), &key.name, nominate).await;
        if let Err(error) = nominated {
            tracing::warn!(pod = %key, "no room is made: {error}");
            return false;
        }
        let victims = way.victims.clone();
        let leaving = victims.into_iter().map(|(victim, victim_uid)| {
            let message = format!("Preempted by pod {uid} on node {}", way.node);
            async move { self.evict(&victim, &victim_uid, message).await }
        });
        let told: Vec<bool> = stream::iter(leaving).buffer_unordered(LEAVING_MAX).collect().await;
        told.into_iter().all(|told| told)
    }

    async fn evict(&self, key: &PodKey, uid: &str, message: String) -> bool {
        let condition = PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("PreemptionByScheduler".to_owned()),
            message: Some(message.clone()),
            last_transition_time: Some(clock::time()),
            ..PodCondition::default()
        };
        let mark = |pod: &mut Pod| {
            let is_same = pod.metadata.uid.as_deref() == Some(uid);
            let status = pod.status.get_or_insert_default();
            let conditions = status.conditions.get_or_insert_default();
            let is_marked = conditions.iter().any(|one| one.type_ == condition.type_);
            if !is_marked {
                conditions.push(condition.clone());
            }
            is_same && !is_marked
        };
        let marked = self.objects.modify::<Pod>(Some(&key.namespace), &key.name, mark).await;
        let delete = Delete { uid: Some(uid.to_owned()), ..Delete::default() };
        let namespace = Some(&*key.namespace);
        let deleted = match marked {
            Ok(_) => self.objects.delete::<Pod>(namespace, &key.name, &delete).await,
            Err(error) => Err(error),
        };
        match deleted {
            Ok(()) => {
                let about = about(key, uid);
                self.events.record(&about, Severity::Normal, "Preempted", &message).await;
                true
            }
            // Gone already, or another of its name: the room is there, or is asked for anew.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => true,
            Err(error) => {
                tracing::warn!(pod = %key, "does not make way: {error}");
                false
            }
        }
    }
}
