//! The ReplicaSets of a deployment and what is written on them, as `kubectl rollout` reads it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::model::{owners, pods};

/// The label that keeps the pods of two versions apart.
pub(super) const HASH: &str = "pod-template-hash";
/// Counts versions, on the deployment and on its sets.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a set had before it was taken up again.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Says of a set that all its pods were available once: it is a version to go back to.
pub(super) const GOOD: &str = "berth.dev/completed";
/// Annotations of a deployment that are not its versions'.
const OWN: [&str; 7] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    super::retreat::RETURNED,
    super::retreat::SETTING,
];

/// One version.
pub(super) struct Set<'a> {
    pub(super) before: &'a ReplicaSet,
    /// As it is to be.
    pub(super) after: ReplicaSet,
    /// Pods that run or will.
    pub(super) active: i32,
    pub(super) ready: i32,
    pub(super) available: i32,
    /// Whether any pod may still be running, one that is being stopped too.
    pub(super) has_pods: bool,
    /// When time alone makes the next pod available.
    pub(super) next_available: Option<Timestamp>,
}

impl<'a> Set<'a> {
    pub(super) fn new(
        set: &'a ReplicaSet,
        pods: &[&Pod],
        min_ready_s: i32,
        now: Timestamp,
    ) -> Self {
        let uid = owners::uid(&set.metadata);
        let own: Vec<&Pod> = pods
            .iter()
            .copied()
            .filter(|pod| owners::is_controlled_by(&pod.metadata, uid))
            .collect();
        let active = || own.iter().copied().filter(|pod| pods::is_active(pod));
        let count = |test: &dyn Fn(&Pod) -> bool| {
            i32::try_from(active().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
        };
        let times = active().filter_map(|pod| pods::available_at(pod, min_ready_s));
        Self {
            before: set,
            after: set.clone(),
            active: count(&|_| true),
            ready: count(&pods::is_ready),
            available: count(&|pod| pods::is_available(pod, min_ready_s, now)),
            has_pods: own.iter().any(|pod| !pods::is_finished(pod)),
            next_available: times.filter(|at| min_ready_s > 0 && *at > now).min(),
        }
    }

    /// What is wanted of it.
    pub(super) fn replicas(&self) -> i32 {
        replicas(&self.after)
    }

    pub(super) fn scale(&mut self, replicas: i32) {
        self.after.spec.get_or_insert_default().replicas = Some(replicas);
    }

    pub(super) fn revision(&self) -> i64 {
        revision(&self.after.metadata)
    }

    pub(super) fn is_good(&self) -> bool {
        owners::annotation(&self.after.metadata, GOOD).is_some()
    }
}

pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn revision(meta: &ObjectMeta) -> i64 {
    owners::annotation(meta, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The set of the version that is wanted, and the others, the oldest first.
pub(super) fn split<'a>(
    mut sets: Vec<Set<'a>>,
    template: &PodTemplateSpec,
    hash: &str,
) -> (Option<Set<'a>>, Vec<Set<'a>>) {
    sets.sort_by_cached_key(|set| {
        let meta = &set.before.metadata;
        (meta.creation_timestamp.clone(), meta.name.clone())
    });
    let wanted = without_hash(template);
    let is_new = |set: &Set<'_>| {
        let own = set.before.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let labels = set.before.metadata.labels.as_ref();
        !owners::is_deleting(&set.before.metadata)
            && (labels.and_then(|labels| labels.get(HASH)).is_some_and(|own| own == hash)
                || own.is_some_and(|own| without_hash(own) == wanted))
    };
    let new = sets.iter().position(is_new).map(|at| sets.remove(at));
    (new, sets)
}

/// A template as the deployment has it.
pub(super) fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(meta) = &mut template.metadata {
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH);
        }
        // Neither is part of what runs, and some clients write it.
        meta.creation_timestamp = None;
        meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.take().filter(|all| !all.is_empty());
    }
    template
}

/// Gives a set a number, and remembers the one that it had. Says whether that changed anything.
pub(super) fn mark_revision(meta: &mut ObjectMeta, revision: i64) -> bool {
    let Some(before) = owners::annotation(meta, REVISION).map(str::to_owned) else {
        return owners::annotate(meta, REVISION, &revision.to_string());
    };
    if before == revision.to_string() {
        return false;
    }
    let history = match owners::annotation(meta, REVISION_HISTORY) {
        Some(history) => format!("{history},{before}"),
        None => before,
    };
    owners::annotate(meta, REVISION_HISTORY, &history);
    owners::annotate(meta, REVISION, &revision.to_string())
}

/// Writes down of which size the whole deployment is, so that a change of it is noticed.
pub(super) fn mark_scale(meta: &mut ObjectMeta, wanted: i32, surge: i32) {
    owners::annotate(meta, DESIRED, &wanted.to_string());
    owners::annotate(meta, MAX, &(wanted + surge).to_string());
}

/// The size of the whole deployment when this set was last scaled: wanted, and with the surge.
pub(super) fn scale_then(meta: &ObjectMeta) -> (Option<i32>, Option<i32>) {
    let number = |key| owners::annotation(meta, key)?.parse().ok();
    (number(DESIRED), number(MAX))
}

/// A version carries the annotations that its deployment had, the reason for the change above all.
pub(super) fn copy_annotations(from: &ObjectMeta, to: &mut ObjectMeta) {
    let own: BTreeMap<_, _> =
        from.annotations.iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str())).collect();
    for (key, value) in own {
        owners::annotate(to, key, value);
    }
}
