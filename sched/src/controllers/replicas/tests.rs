use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSetSpec;
use proptest::prelude::*;

use super::super::model::testing::{at, in_phase, owned, pod, ready};
use super::super::{action::Action, kinds::Object};
use super::*;

const UID: &str = "uid-web";

fn labels() -> selectors::Labels {
    [("app".to_owned(), "web".to_owned())].into()
}

fn set(replicas: i32) -> ReplicaSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: None,
    };
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some("web".into()),
            namespace: Some("shop".into()),
            uid: Some(UID.into()),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            template: Some(template),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

fn member(name: &str) -> Pod {
    let mut pod = owned(pod(name), UID);
    pod.metadata.labels = Some(labels());
    pod
}

fn plan(set: &ReplicaSet, pods: &[Pod], now: Timestamp) -> Plan {
    let pods: Vec<&Pod> = pods.iter().collect();
    let is_taken = |name: &str| pods.iter().any(|pod| owners::name(&pod.metadata) == name);
    let seen =
        Observed { pods: &pods, revision: 7, is_taken: &is_taken, is_namespace_ending: false };
    plan_replica_set(set, &seen, now)
}

fn created(plan: &Plan) -> Vec<Pod> {
    let pods = plan.actions.iter().filter_map(|action| match action {
        Action::Create(Object::Pod(pod)) => Some(*pod.clone()),
        _ => None,
    });
    pods.collect()
}

fn deleted(plan: &Plan) -> Vec<&str> {
    let names = plan.actions.iter().filter_map(|action| match action {
        Action::Delete(removal) => Some(removal.id.name.as_str()),
        _ => None,
    });
    names.collect()
}

#[test]
fn missing_pods_are_made_with_an_owner() {
    // Proves that pods carry the template's labels and their owner, under names that are free.
    let pods = created(&plan(&set(3), &[member("a")], at(0)));
    assert_eq!(pods.len(), 2);
    for pod in pods {
        assert!(owners::is_controlled_by(&pod.metadata, UID));
        assert_eq!(pod.metadata.labels, Some(labels()));
    }
}

#[test]
fn the_least_useful_pods_go_first() {
    // Proves the order: not placed, pending, not ready, youngest.
    let placed = |mut pod: Pod| {
        pod.spec.get_or_insert_default().node_name = Some("n1".into());
        pod
    };
    let pods = [
        placed(ready(member("old"), at(1))),
        placed(ready(member("young"), at(9))),
        placed(in_phase(member("running"), "Running")),
        placed(member("pending")),
        member("unplaced"),
    ];
    let order = ["unplaced", "pending", "running", "young", "old"];
    for replicas in 0..5 {
        let plan = plan(&set(replicas), &pods, at(20));
        let expected = &order[..5 - usize::try_from(replicas).unwrap()];
        assert_eq!(deleted(&plan), expected);
    }
}

#[test]
fn strangers_with_fitting_labels_are_taken_in_and_others_let_go() {
    // Proves adoption and release, and that an adopted pod counts.
    let mut stranger = member("stranger");
    stranger.metadata.owner_references = None;
    let mut other = member("other");
    other.metadata.labels = None;
    let plan = plan(&set(1), &[stranger, other], at(0));
    assert!(created(&plan).is_empty());
    let updated: BTreeMap<_, _> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Update(Object::Pod(pod)) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                Some((name, owners::is_controlled_by(&pod.metadata, UID)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(updated, [("other".to_owned(), false), ("stranger".to_owned(), true)].into());
}

#[test]
fn pods_that_fail_at_once_are_replaced_ever_more_slowly() {
    // Proves that a node which refuses pods gets no storm of them, and that old failures go.
    let failed = |name: String| in_phase(member(&name), "Failed");
    let one = [failed("f0".into())];
    let soon = plan(&set(1), &one, at(0));
    assert!(created(&soon).is_empty());
    assert_eq!(soon.again, Some(at(1)));
    assert_eq!(created(&plan(&set(1), &one, at(1))).len(), 1);
    let many: Vec<Pod> = (0..8).map(|at| failed(format!("f{at}"))).collect();
    let later = plan(&set(1), &many, at(2));
    assert!(created(&later).is_empty());
    assert_eq!(deleted(&later).len(), 3);
}

#[test]
fn counts_are_of_pods_that_run() {
    // Proves the status, and that time alone makes a pod available.
    let mut set = set(2);
    set.spec.as_mut().unwrap().min_ready_seconds = Some(5);
    let pods = [ready(member("a"), at(0)), ready(member("b"), at(3))];
    let plan = plan(&set, &pods, at(6));
    assert_eq!(plan.again, Some(at(8)));
    let Some(Action::Update(Object::ReplicaSet(set))) = plan.actions.last() else {
        panic!("{plan:?}");
    };
    let status = set.status.as_ref().unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (2, Some(2)));
    assert_eq!(status.available_replicas, Some(1));
}

#[test]
fn nothing_is_made_for_what_is_being_deleted() {
    // Proves that neither a set nor a namespace that is going away gets new pods.
    let mut going = set(2);
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    assert!(created(&plan(&going, &[], at(1))).is_empty());
    let seen = Observed { pods: &[], revision: 1, is_taken: &|_| false, is_namespace_ending: true };
    assert!(created(&plan_replica_set(&set(2), &seen, at(1))).is_empty());
}

proptest! {
    #[test]
    fn the_right_number_is_reached_and_kept(
        replicas in 0_i32..20,
        phases in prop::collection::vec(0..5, 0..20),
    ) {
        // Proves for any pods that one step leads to the wanted number, and that the next step
        // wants nothing more.
        let now = at(10_000);
        let mut pods: Vec<Pod> = phases.iter().enumerate().map(|(at_, phase)| {
            let pod = member(&format!("p{at_}"));
            match phase {
                0 => pod,
                1 => ready(pod, at(1)),
                2 => in_phase(pod, "Failed"),
                3 => in_phase(pod, "Succeeded"),
                _ => {
                    let mut pod = pod;
                    pod.metadata.deletion_timestamp =
                        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(2)));
                    pod
                }
            }
        }).collect();
        let first = plan(&set(replicas), &pods, now);
        let gone: Vec<String> = deleted(&first).into_iter().map(str::to_owned).collect();
        pods.retain(|pod| !gone.contains(pod.metadata.name.as_ref().unwrap()));
        pods.extend(created(&first));
        let active = pods.iter().filter(|pod| pods::is_active(pod)).count();
        prop_assert_eq!(active, usize::try_from(replicas).unwrap());
        let second = plan(&set(replicas), &pods, now);
        prop_assert!(created(&second).is_empty() && deleted(&second).is_empty());
    }
}
