//! Whether a node is one that a pod may run on, for those pods that belong to certain nodes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

use super::owners;
use super::selectors::{self, Labels};

/// Whether node selector and required node affinity let the pod onto the node.
pub(crate) fn selects(spec: &PodSpec, node: &Node) -> bool {
    let labels = selectors::labels(&node.metadata.labels);
    let selected = spec.node_selector.as_ref().is_none_or(|all| selectors::has_all(labels, all));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|all| all.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| meets(required, node, labels))
}

fn meets(required: &NodeSelector, node: &Node, labels: &Labels) -> bool {
    required.node_selector_terms.iter().any(|term| meets_term(term, node, labels))
}

fn meets_term(term: &NodeSelectorTerm, node: &Node, labels: &Labels) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = |key: &str| (key == "metadata.name").then(|| owners::name(&node.metadata));
    // A term that asks for nothing takes nothing.
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|one| holds(one, labels.get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| holds(one, name(&one.key)))
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let is_among = |value| values.iter().any(|wanted| wanted == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|text| number(text));
    match wanted.operator.as_str() {
        "In" => value.is_some_and(is_among),
        "NotIn" => value.is_none_or(|value| !is_among(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value.and_then(number).zip(bound).is_some_and(|(value, bound)| value > bound),
        "Lt" => value.and_then(number).zip(bound).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

pub(crate) fn taints(node: &Node) -> &[Taint] {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref());
    taints.unwrap_or_default()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        // The empty key, which means every key, goes with Exists alone.
        _ => !key.is_empty() && toleration.value.as_deref().unwrap_or_default() == value(taint),
    }
}

fn value(taint: &Taint) -> &str {
    taint.value.as_deref().unwrap_or_default()
}

/// Whether a pod with these tolerations may be put onto a node with these taints.
pub(crate) fn admits(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let repels = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    taints.iter().filter(repels).all(|taint| tolerations.iter().any(|one| tolerates(one, taint)))
}

/// When a pod with these tolerations must leave a node with these taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Never,
    At(Timestamp),
}

/// `now` is when a taint was added that does not say.
pub(crate) fn leaves(tolerations: &[Toleration], taints: &[Taint], now: Timestamp) -> Leave {
    let mut leave = Leave::Never;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let added = taint.time_added.as_ref().map_or(now, |time| time.0);
        let fitting: Vec<_> = tolerations.iter().filter(|one| tolerates(one, taint)).collect();
        let at = if fitting.is_empty() {
            Some(added)
        } else {
            let shortest = fitting.iter().filter_map(|one| one.toleration_seconds).min();
            shortest.map(|seconds| {
                let stay = SignedDuration::from_secs(seconds.max(0));
                added.checked_add(stay).unwrap_or(Timestamp::MAX)
            })
        };
        leave = match (leave, at) {
            (Leave::At(known), Some(at)) => Leave::At(known.min(at)),
            (Leave::Never, Some(at)) => Leave::At(at),
            (leave, None) => leave,
        };
    }
    leave
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::super::testing::at;
    use super::*;

    fn taint(key: &str, effect: &str) -> Taint {
        Taint {
            key: key.into(),
            effect: effect.into(),
            value: None,
            time_added: Some(Time(at(10))),
        }
    }

    fn tolerate(key: &str, seconds: Option<i64>) -> Toleration {
        Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            toleration_seconds: seconds,
            ..Toleration::default()
        }
    }

    #[test]
    fn pods_leave_when_their_patience_ends() {
        // Proves who stays on a tainted node, and for how long.
        let taints = [taint("gone", "NoExecute"), taint("full", "NoSchedule")];
        assert_eq!(leaves(&[], &taints, at(99)), Leave::At(at(10)));
        assert_eq!(leaves(&[tolerate("gone", None)], &taints, at(99)), Leave::Never);
        assert_eq!(leaves(&[tolerate("gone", Some(5))], &taints, at(99)), Leave::At(at(15)));
        assert_eq!(leaves(&[tolerate("full", None)], &taints, at(99)), Leave::At(at(10)));
        assert!(admits(&[tolerate("", None)], &taints));
        assert!(!admits(&[tolerate("gone", None)], &taints));
    }

    #[test]
    fn affinity_and_selector_choose_nodes() {
        // Proves required terms over labels and the node's name.
        let mut node = Node::default();
        node.metadata.name = Some("n1".into());
        node.metadata.labels = Some([("cores".to_owned(), "4".to_owned())].into());
        let labels = selectors::labels(&node.metadata.labels);
        let requirement = |key: &str, operator: &str, value: &str| NodeSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(vec![value.into()]),
        };
        let by_label =
            |one| NodeSelectorTerm { match_expressions: Some(vec![one]), match_fields: None };
        let by_name = |name| NodeSelectorTerm {
            match_expressions: None,
            match_fields: Some(vec![requirement("metadata.name", "In", name)]),
        };
        for (term, expected) in [
            (by_label(requirement("cores", "Gt", "3")), true),
            (by_label(requirement("cores", "Lt", "3")), false),
            (by_label(requirement("cores", "NotIn", "4")), false),
            (by_name("n1"), true),
            (by_name("n2"), false),
            (NodeSelectorTerm::default(), false),
        ] {
            assert_eq!(meets_term(&term, &node, labels), expected, "{term:?}");
        }
    }
}
