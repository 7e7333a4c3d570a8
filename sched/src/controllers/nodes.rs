//! Nodes that live and die: what their lease says is written on them, and their pods go where they
//! can run.
//!
//! A node lives as long as the key of its lease in `kube-node-lease` is there: the store's own
//! lease takes it away. By then the agent has stopped what others are told to start (or is dead
//! with its node), so pods of a dead node are taken off the registry at once.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::action::{How, Plan, reference};
use super::kinds::Object;
use super::model::nodes::{self, Leave};
use super::model::{owners, pods};

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The reason of what is written here of a node that is gone.
const UNKNOWN: &str = "NodeStatusUnknown";
const LOST: &str = "NodeLost";

/// What is seen.
pub(crate) struct Observed<'a> {
    /// Whether the key of its lease is there.
    pub(crate) has_lease: bool,
    pub(crate) pods: &'a [&'a Pod],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    NotReady,
    Gone,
}

pub(crate) fn plan(node: &Node, seen: &Observed<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let state = state(node, seen);
    let mut after = node.clone();
    mark_ready(&mut after, state, now);
    mark_taints(&mut after, state, now);
    if after != *node {
        tell(node, &after, state, &mut plan);
        plan.update(after.clone());
    }
    if owners::is_deleting(&node.metadata) {
        return plan;
    }
    for pod in seen.pods {
        evict(pod, &after, state, now, &mut plan);
        if state == State::Gone {
            lose(pod, now, &mut plan);
        }
    }
    plan
}

/// Pods of a node that is not even registered any more.
pub(crate) fn plan_absent(pods: &[&Pod]) -> Plan {
    let mut plan = Plan::default();
    for pod in pods {
        plan.remove(&Object::from(*pod), How::Now);
    }
    plan
}

fn state(node: &Node, seen: &Observed<'_>) -> State {
    if !seen.has_lease {
        return State::Gone;
    }
    match ready(node) {
        // Said here, when the lease was gone: it is back.
        Some(condition) if condition.reason.as_deref() == Some(UNKNOWN) => State::Ready,
        Some(condition) if condition.status == "True" => State::Ready,
        _ => State::NotReady,
    }
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// The agent says itself how it is, unless it cannot.
fn mark_ready(node: &mut Node, state: State, now: Timestamp) {
    let is_marked = ready(node).is_some_and(|one| one.reason.as_deref() == Some(UNKNOWN));
    let (status, reason, message) = match (state, is_marked) {
        (State::Gone, false) => ("Unknown", UNKNOWN, "The node's lease has run out."),
        (State::Ready, true) => ("True", "NodeReady", "The node's lease is back."),
        _ => return,
    };
    let condition = NodeCondition {
        type_: "Ready".into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
    match conditions.iter_mut().find(|one| one.type_ == "Ready") {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

fn mark_taints(node: &mut Node, state: State, now: Timestamp) {
    let spec = node.spec.get_or_insert_default();
    let is_cordoned = spec.unschedulable == Some(true);
    let mut taints = spec.taints.take().unwrap_or_default();
    let wanted = [
        (UNREACHABLE, "NoSchedule", state == State::Gone),
        (UNREACHABLE, "NoExecute", state == State::Gone),
        (NOT_READY, "NoSchedule", state == State::NotReady),
        (UNSCHEDULABLE, "NoSchedule", is_cordoned),
    ];
    for (key, effect, is_wanted) in wanted {
        let at = taints.iter().position(|one| one.key == key && one.effect == effect);
        match (at, is_wanted) {
            (Some(at), false) => drop(taints.remove(at)),
            (None, true) => taints.push(Taint {
                key: key.into(),
                effect: effect.into(),
                value: None,
                time_added: Some(Time(now)),
            }),
            _ => {}
        }
    }
    spec.taints = Some(taints).filter(|taints| !taints.is_empty());
}

fn tell(before: &Node, after: &Node, state: State, plan: &mut Plan) {
    let status = |node| ready(node).map(|condition| condition.status.clone());
    if status(before) == status(after) {
        return;
    }
    let name = owners::name(&before.metadata);
    match state {
        State::Gone => {
            let message = format!("Node {name} is gone: its lease has run out");
            plan.warn(&reference(before), "NodeNotReady", message);
        }
        _ => plan.tell(&reference(before), "NodeReady", format!("Node {name} is back")),
    }
}

/// Ends a pod that does not tolerate what the node is tainted with.
fn evict(pod: &Pod, node: &Node, state: State, now: Timestamp, plan: &mut Plan) {
    if pods::is_finished(pod) {
        return;
    }
    let is_gone = state == State::Gone;
    // Nobody is there to say that it has stopped.
    if is_gone && owners::is_deleting(&pod.metadata) {
        plan.remove(&Object::from(pod), How::Now);
        return;
    }
    // A pod of nobody is not made anew anywhere: it waits for its node.
    if owners::is_deleting(&pod.metadata)
        || (is_gone && owners::controller(&pod.metadata).is_none())
    {
        return;
    }
    let spec = pod.spec.as_ref();
    let tolerations = spec.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    match nodes::leaves(tolerations, nodes::taints(node), now) {
        Leave::Never => {}
        Leave::At(at) if at > now => plan.look_at(at),
        Leave::At(_) => {
            let how = if is_gone { How::Now } else { How::Gracefully };
            let name = owners::name(&node.metadata);
            plan.tell(&reference(pod), "TaintManagerEviction", format!("Leaves node {name}"));
            plan.remove(&Object::from(pod), how);
        }
    }
}

/// Says of a pod on a node that is gone that it is not ready, so that nobody is sent to it.
fn lose(pod: &Pod, now: Timestamp, plan: &mut Plan) {
    let is_leaving = plan.actions.iter().any(|action| match action {
        super::action::Action::Delete(removal) => removal.uid == owners::uid(&pod.metadata),
        _ => false,
    });
    let is_marked = pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some(LOST);
    if is_leaving || is_marked || pods::is_finished(pod) {
        return;
    }
    let mut after = pod.clone();
    let status = after.status.get_or_insert_default();
    status.reason = Some(LOST.into());
    status.message = Some("The pod's node is gone: whether it runs is not known.".into());
    status.phase = Some("Unknown".into());
    for condition in status.conditions.iter_mut().flatten() {
        if matches!(condition.type_.as_str(), "Ready" | "ContainersReady") {
            *condition = PodCondition {
                type_: condition.type_.clone(),
                status: "False".into(),
                reason: Some(LOST.into()),
                last_transition_time: Some(Time(now)),
                ..PodCondition::default()
            };
        }
    }
    plan.update(after);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NodeSpec, NodeStatus, Toleration};

    use super::super::action::Action;
    use super::super::model::testing::{at, owned, pod, ready as ready_pod};
    use super::*;

    fn node() -> Node {
        let condition = NodeCondition {
            type_: "Ready".into(),
            status: "True".into(),
            ..NodeCondition::default()
        };
        let mut node = Node {
            status: Some(NodeStatus { conditions: Some(vec![condition]), ..NodeStatus::default() }),
            spec: Some(NodeSpec::default()),
            ..Node::default()
        };
        node.metadata.name = Some("n1".into());
        node
    }

    fn step(node: &Node, has_lease: bool, pods: &[&Pod]) -> (Node, Vec<String>, Vec<Pod>) {
        let plan = plan(node, &Observed { has_lease, pods }, at(10));
        let (mut after, mut gone, mut changed) = (node.clone(), Vec::new(), Vec::new());
        for action in plan.actions {
            match action {
                Action::Update(Object::Node(node)) => after = *node,
                Action::Update(Object::Pod(pod)) => changed.push(*pod),
                Action::Delete(removal) => {
                    assert_eq!(removal.how, How::Now);
                    gone.push(removal.id.name);
                }
                Action::Tell(_) => {}
                other => panic!("{other:?}"),
            }
        }
        (after, gone, changed)
    }

    #[test]
    fn a_dead_node_loses_its_pods_and_gets_clean_when_it_is_back() {
        // Proves who leaves a dead node at once (replicas, and what was stopping), who stays
        // (daemons that tolerate it, pods of nobody: shown as lost), and that a node that comes
        // back is as before.
        let replica = ready_pod(owned(pod("replica"), "u"), at(1));
        let mut stopping = owned(pod("stopping"), "u");
        stopping.metadata.deletion_timestamp = Some(Time(at(1)));
        let mut daemon = ready_pod(owned(pod("daemon"), "d"), at(1));
        daemon.spec.as_mut().unwrap().tolerations = Some(vec![Toleration {
            key: Some(UNREACHABLE.into()),
            operator: Some("Exists".into()),
            ..Toleration::default()
        }]);
        let bare = ready_pod(pod("bare"), at(1));
        let all = [&replica, &stopping, &daemon, &bare];
        let (dead, gone, changed) = step(&node(), false, &all);
        assert_eq!(gone, ["replica", "stopping"]);
        let names: Vec<_> = changed.iter().map(|pod| owners::name(&pod.metadata)).collect();
        assert_eq!(names, ["daemon", "bare"]);
        assert!(changed.iter().all(|pod| !pods::is_ready(pod)));
        assert_eq!(ready(&dead).unwrap().status, "Unknown");
        assert_eq!(nodes::taints(&dead).len(), 2);
        assert_eq!(step(&dead, false, &[]).0, dead);
        let (back, gone, _) = step(&dead, true, &[&changed[0], &changed[1]]);
        assert!(gone.is_empty() && nodes::taints(&back).is_empty());
        assert_eq!(ready(&back).unwrap().status, "True");
    }

    #[test]
    fn a_node_that_lives_keeps_its_pods() {
        // Proves that nothing is written of a healthy node, that cordon is a taint, and that a node
        // that says itself it is not ready is only closed.
        let replica = owned(pod("replica"), "u");
        let (after, gone, changed) = step(&node(), true, &[&replica]);
        assert!(after == node() && gone.is_empty() && changed.is_empty());
        let mut closed = node();
        closed.spec.as_mut().unwrap().unschedulable = Some(true);
        assert_eq!(nodes::taints(&step(&closed, true, &[]).0)[0].key, UNSCHEDULABLE);
        let mut ill = node();
        ill.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status = "False".into();
        let (after, gone, _) = step(&ill, true, &[&replica]);
        assert_eq!(nodes::taints(&after)[0].key, NOT_READY);
        assert!(gone.is_empty());
    }
}
