//! One pod on each node that fits: DaemonSets.
//!
//! A pod is tied to its node by required node affinity and bound by the scheduler like any other:
//! so it is one place alone that counts what a node has left.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};

use super::action::{Plan, reference};
use super::model::names::{Fresh, template_hash};
use super::model::nodes::{self, Leave};
use super::model::scale::{Round, share};
use super::model::{owners, pods, selectors};

/// The template that a pod was made from.
const HASH: &str = "controller-revision-hash";
/// A pod that failed as a whole is replaced after this time, since its successor may fail at once.
const FAILED_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const NAME_FIELD: &str = "metadata.name";

/// What is seen.
pub(crate) struct Observed<'a> {
    pub(crate) nodes: &'a [&'a Node],
    /// Pods whose controller this is.
    pub(crate) pods: &'a [&'a Pod],
    /// The revision of the view.
    pub(crate) revision: i64,
    pub(crate) is_taken: &'a dyn Fn(&str) -> bool,
    pub(crate) is_namespace_ending: bool,
}

struct Daemons<'a> {
    set: &'a DaemonSet,
    spec: &'a DaemonSetSpec,
    /// The template's, with what daemons tolerate by nature.
    pod_spec: PodSpec,
    hash: String,
    seen: &'a Observed<'a>,
    now: Timestamp,
}

/// A node's part in it.
struct Place<'a> {
    node: &'a str,
    is_wanted: bool,
    may_stay: bool,
    /// The oldest first.
    pods: Vec<&'a Pod>,
}

pub(crate) fn plan(set: &DaemonSet, seen: &Observed<'_>, now: Timestamp) -> Plan {
    let Some(spec) = &set.spec else { return Plan::default() };
    let mut pod_spec = spec.template.spec.clone().unwrap_or_default();
    pod_spec.tolerations.get_or_insert_default().extend(by_nature());
    let hash = template_hash(&spec.template, 0);
    let daemons = Daemons { set, spec, pod_spec, hash, seen, now };
    let mut plan = Plan::default();
    let places = daemons.places();
    if !owners::is_deleting(&set.metadata) && !selectors::is_empty(&spec.selector) {
        daemons.place(&places, &mut plan);
        daemons.replace_old(&places, &mut plan);
    }
    daemons.report(&places, &mut plan);
    plan
}

/// A daemon stays when its node is in trouble: it may be what helps.
fn by_nature() -> impl Iterator<Item = Toleration> {
    let all = [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    all.into_iter().map(|(key, effect)| Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some(effect.into()),
        ..Toleration::default()
    })
}

/// The node that a pod is on, or is meant for.
fn target(pod: &Pod) -> Option<&str> {
    let tied = || {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.first()?.match_fields.as_ref()?;
        let field = fields.iter().find(|field| field.key == NAME_FIELD)?;
        field.values.as_ref()?.first().map(String::as_str)
    };
    pods::node(pod).or_else(tied)
}

impl<'a> Daemons<'a> {
    fn places(&self) -> Vec<Place<'a>> {
        let mut on: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in self.seen.pods {
            on.entry(target(pod).unwrap_or_default()).or_default().push(pod);
        }
        for pods in on.values_mut() {
            pods.sort_by_cached_key(|pod| (pods::created(pod), pod.metadata.name.clone()));
        }
        let tolerations = self.pod_spec.tolerations.as_deref().unwrap_or_default();
        let mut places: Vec<Place<'_>> = Vec::new();
        for node in self.seen.nodes {
            let name = owners::name(&node.metadata);
            let taints = nodes::taints(node);
            let fits = nodes::selects(&self.pod_spec, node) && !owners::is_deleting(&node.metadata);
            let must_leave = nodes::leaves(tolerations, taints, self.now) != Leave::Never;
            places.push(Place {
                node: name,
                is_wanted: fits && nodes::admits(tolerations, taints),
                may_stay: fits && !must_leave,
                pods: on.remove(name).unwrap_or_default(),
            });
        }
        // Nodes that are gone.
        let gone = on.into_iter();
        places.extend(gone.map(|(node, pods)| Place {
            node,
            is_wanted: false,
            may_stay: false,
            pods,
        }));
        places
    }

    fn place(&self, places: &[Place<'_>], plan: &mut Plan) {
        let base = owners::name(&self.set.metadata);
        let uid = owners::uid(&self.set.metadata);
        let fresh = Fresh { base, uid, revision: self.seen.revision };
        let mut names = fresh.names(self.seen.is_taken);
        for place in places {
            let living = place.pods.iter().filter(|pod| !owners::is_deleting(&pod.metadata));
            if !(place.is_wanted || place.may_stay) {
                living.for_each(|pod| plan.delete(*pod));
                continue;
            }
            let active = place.pods.iter().filter(|pod| pods::is_active(pod));
            active.skip(1).for_each(|pod| plan.delete(*pod));
            for pod in living.filter(|pod| pods::is_finished(pod)) {
                self.clear(pod, plan);
            }
            // One that is being stopped still holds what its successor needs.
            if place.is_wanted && place.pods.is_empty() && !self.seen.is_namespace_ending {
                let name = names.next().unwrap_or_default();
                let message = format!("Created pod: {name}");
                plan.create(self.pod(name, place.node));
                plan.tell(&reference(self.set), "SuccessfulCreate", message);
            }
        }
    }

    fn clear(&self, pod: &Pod, plan: &mut Plan) {
        let at = pods::finished_at(pod).checked_add(FAILED_PAUSE).unwrap_or(self.now);
        if at > self.now {
            plan.look_at(at);
        } else {
            plan.delete(pod);
        }
    }

    fn pod(&self, name: String, node: &str) -> Pod {
        let namespace = owners::namespace(&self.set.metadata);
        let owner = owners::reference("apps/v1", "DaemonSet", &self.set.metadata);
        let mut pod = pods::from_template(&self.spec.template, namespace, name, owner);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), self.hash.clone());
        let mut spec = self.pod_spec.clone();
        let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
        let term = NodeSelectorTerm {
            match_expressions: None,
            match_fields: Some(vec![NodeSelectorRequirement {
                key: NAME_FIELD.into(),
                operator: "In".into(),
                values: Some(vec![node.to_owned()]),
            }]),
        };
        // The node was chosen by the other terms already.
        affinity.required_during_scheduling_ignored_during_execution =
            Some(NodeSelector { node_selector_terms: vec![term] });
        pod.spec = Some(spec);
        pod
    }

    fn is_old(&self, pod: &Pod) -> bool {
        selectors::labels(&pod.metadata.labels).get(HASH) != Some(&self.hash)
    }

    fn min_ready_s(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pods::is_active(pod) && pods::is_available(pod, self.min_ready_s(), self.now)
    }

    /// Deletes pods of an old template: those that serve nobody at once, the others as many as may
    /// be missing at a time.
    fn replace_old(&self, places: &[Place<'_>], plan: &mut Plan) {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|one| one.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let wanted: Vec<_> = places.iter().filter(|place| place.is_wanted).collect();
        let total = i32::try_from(wanted.len()).unwrap_or(i32::MAX);
        let rolling = strategy.and_then(|one| one.rolling_update.as_ref());
        let room = rolling.and_then(|one| one.max_unavailable.as_ref());
        let room = share(room, total, Round::Up).unwrap_or(1).max(1);
        let serves = |place: &&&Place<'_>| place.pods.iter().any(|pod| self.is_available(pod));
        let missing = wanted.iter().filter(|place| !serves(place)).count();
        let mut room = usize::try_from(room).unwrap_or(0).saturating_sub(missing);
        for place in wanted {
            let old = place.pods.iter().filter(|pod| pods::is_active(pod) && self.is_old(pod));
            for pod in old.take(1) {
                if self.is_available(pod) {
                    if room == 0 {
                        continue;
                    }
                    room -= 1;
                }
                plan.delete(*pod);
                let message = format!("Deleted pod: {}", owners::name(&pod.metadata));
                plan.tell(&reference(self.set), "SuccessfulDelete", message);
            }
        }
    }

    fn report(&self, places: &[Place<'a>], plan: &mut Plan) {
        let first = |place: &Place<'a>| place.pods.iter().copied().find(|pod| pods::is_active(pod));
        let count = |test: &dyn Fn(&Place<'a>) -> bool| {
            i32::try_from(places.iter().filter(|place| test(place)).count()).unwrap_or(i32::MAX)
        };
        let desired = count(&|place| place.is_wanted);
        let has = |place: &Place<'a>, test: &dyn Fn(&Pod) -> bool| {
            place.is_wanted && first(place).is_some_and(test)
        };
        let available = count(&|place| has(place, &|pod| self.is_available(pod)));
        let before = self.set.status.clone().unwrap_or_default();
        let some = |count: i32| (count != 0).then_some(count);
        let status = DaemonSetStatus {
            desired_number_scheduled: desired,
            current_number_scheduled: count(&|place| has(place, &|_| true)),
            number_misscheduled: count(&|place| !place.is_wanted && first(place).is_some()),
            number_ready: count(&|place| has(place, &pods::is_ready)),
            number_available: some(available),
            number_unavailable: some(desired - available),
            updated_number_scheduled: some(count(&|place| has(place, &|pod| !self.is_old(pod)))),
            observed_generation: self.set.metadata.generation,
            ..before.clone()
        };
        if status != before {
            plan.update(DaemonSet { status: Some(status), ..self.set.clone() });
        }
        if self.min_ready_s() > 0 {
            let pods = places.iter().filter_map(first);
            let times = pods.filter_map(|pod| pods::available_at(pod, self.min_ready_s()));
            if let Some(at) = times.filter(|at| *at > self.now).min() {
                plan.look_at(at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NodeSpec, PodTemplateSpec, Taint};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

    use super::super::action::Action;
    use super::super::kinds::Object;
    use super::super::model::testing::{at, ready};
    use super::*;

    fn set(image: &str) -> DaemonSet {
        let labels: selectors::Labels = [("app".to_owned(), "log".to_owned())].into();
        let mut template = PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels.clone()), ..ObjectMeta::default() }),
            spec: Some(PodSpec::default()),
        };
        // Any difference makes another template.
        template.spec.as_mut().unwrap().hostname = Some(image.into());
        template.spec.as_mut().unwrap().node_selector =
            Some([("disk".to_owned(), "yes".to_owned())].into());
        DaemonSet {
            metadata: ObjectMeta {
                name: Some("log".into()),
                namespace: Some("shop".into()),
                uid: Some("uid-log".into()),
                ..ObjectMeta::default()
            },
            spec: Some(DaemonSetSpec {
                selector: LabelSelector { match_labels: Some(labels), ..LabelSelector::default() },
                template,
                ..DaemonSetSpec::default()
            }),
            status: None,
        }
    }

    fn node(name: &str) -> Node {
        let mut node = Node { spec: Some(NodeSpec::default()), ..Node::default() };
        node.metadata.name = Some(name.into());
        node.metadata.labels = Some([("disk".to_owned(), "yes".to_owned())].into());
        node
    }

    /// Applies a plan to the pods: made ones are ready at once, deleted ones gone.
    fn step(set: &DaemonSet, nodes: &[Node], pods: &mut Vec<Pod>, revision: i64) -> (usize, usize) {
        let (seen_nodes, seen_pods): (Vec<_>, Vec<_>) =
            (nodes.iter().collect(), pods.iter().collect());
        let seen = Observed {
            nodes: &seen_nodes,
            pods: &seen_pods,
            revision,
            is_taken: &|_| false,
            is_namespace_ending: false,
        };
        let (mut made, mut gone) = (Vec::new(), Vec::new());
        for action in plan(set, &seen, at(100)).actions {
            match action {
                Action::Create(Object::Pod(pod)) => made.push(ready(*pod, at(1))),
                Action::Delete(removal) => gone.push(removal.id.name),
                _ => {}
            }
        }
        let counts = (made.len(), gone.len());
        pods.retain(|pod| !gone.contains(&pod.metadata.name.clone().unwrap()));
        pods.extend(made);
        counts
    }

    #[test]
    fn every_fitting_node_has_one_and_a_new_version_goes_node_by_node() {
        // Proves placement by selector and taint, that one node at a time is changed over, and that
        // a node that no longer fits is left.
        let mut tainted = node("n4");
        tainted.spec.as_mut().unwrap().taints = Some(vec![Taint {
            key: "special".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        }]);
        let mut plain = node("n5");
        plain.metadata.labels = None;
        let mut nodes = vec![node("n1"), node("n2"), node("n3"), tainted, plain];
        let mut pods = Vec::new();
        assert_eq!(step(&set("a"), &nodes, &mut pods, 1), (3, 0));
        let targets: Vec<_> = pods.iter().map(|pod| target(pod).unwrap()).collect();
        assert_eq!(targets, ["n1", "n2", "n3"]);
        assert_eq!(step(&set("a"), &nodes, &mut pods, 2), (0, 0));
        for round in 0..3 {
            assert_eq!(step(&set("b"), &nodes, &mut pods, 3 + 2 * round), (0, 1));
            assert_eq!(step(&set("b"), &nodes, &mut pods, 4 + 2 * round), (1, 0));
        }
        assert_eq!(step(&set("b"), &nodes, &mut pods, 9), (0, 0));
        nodes[0].metadata.labels = None;
        nodes.remove(1);
        assert_eq!(step(&set("b"), &nodes, &mut pods, 10), (0, 2));
    }
}
