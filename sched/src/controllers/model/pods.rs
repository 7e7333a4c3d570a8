//! The state of a pod, and pods made from templates.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::owners;

pub(crate) fn phase(pod: &Pod) -> &str {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.unwrap_or("Pending")
}

pub(crate) fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

pub(crate) fn has_failed(pod: &Pod) -> bool {
    phase(pod) == "Failed"
}

/// It will not run again.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    has_succeeded(pod) || has_failed(pod)
}

/// It counts as a replica: it runs, or will.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !owners::is_deleting(&pod.metadata)
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// When a pod that is ready counts as available. `None`: it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_s: i32) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let wait = SignedDuration::from_secs(min_ready_s.max(0).into());
    Some(since.checked_add(wait).unwrap_or(Timestamp::MAX))
}

pub(crate) fn is_available(pod: &Pod, min_ready_s: i32, now: Timestamp) -> bool {
    match min_ready_s {
        // Clocks of nodes differ: without a wait, ready is enough.
        ..=0 => is_ready(pod),
        _ => available_at(pod, min_ready_s).is_some_and(|at| at <= now),
    }
}

pub(crate) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).sum()
}

pub(crate) fn created(pod: &Pod) -> Timestamp {
    pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0)
}

/// When the last of its containers ended, or when it was made if nobody says.
pub(crate) fn finished_at(pod: &Pod) -> Timestamp {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let ends = statuses.into_iter().flatten().filter_map(|status| {
        status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
    });
    ends.max().unwrap_or_else(|| created(pod))
}

/// A pod from a template, for a controller.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    namespace: &str,
    name: String,
    owner: OwnerReference,
) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, pod, ready};
    use super::*;

    #[test]
    fn a_pod_is_available_when_it_was_ready_long_enough() {
        // Proves the edges of minReadySeconds, and that a pod which is not ready never is.
        let pod = ready(pod("a"), at(10));
        assert!(is_available(&pod, 0, at(10)));
        assert!(!is_available(&pod, 5, at(14)));
        assert!(is_available(&pod, 5, at(15)));
        assert_eq!(available_at(&pod, 5), Some(at(15)));
        assert_eq!(available_at(&super::super::testing::pod("b"), 5), None);
    }
}
