//! How many pods may be missed: the status of PodDisruptionBudgets, which the API server's eviction
//! goes by.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::action::Plan;
use super::model::scale::{Round, share};
use super::model::{owners, pods, selectors};

/// How long an eviction that was granted counts, if its pod does not go.
const GRANTED: SignedDuration = SignedDuration::from_secs(120);

/// `wanted`: who says how many pods like this one there are to be, and how many.
pub(crate) fn plan(
    budget: &PodDisruptionBudget,
    pods: &[&Pod],
    wanted: &dyn Fn(&Pod) -> Option<(String, i32)>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &budget.spec else { return plan };
    let own: Vec<&Pod> = pods
        .iter()
        .copied()
        .filter(|pod| {
            let labels = selectors::labels(&pod.metadata.labels);
            let fits = spec.selector.as_ref().is_some_and(|one| selectors::matches(one, labels));
            fits && !pods::is_finished(pod)
        })
        .collect();
    let before = budget.status.clone().unwrap_or_default();
    let granted = still_granted(&before, &own, now, &mut plan);
    let expected = expected(budget, &own, wanted);
    let desired = match (&spec.min_available, &spec.max_unavailable) {
        (Some(min), _) => share(Some(min), expected, Round::Up).unwrap_or(expected),
        // What cannot be read permits nothing.
        (None, max) => expected - share(max.as_ref(), expected, Round::Up).unwrap_or(0),
    };
    let desired = desired.max(0);
    let healthy = own.iter().filter(|pod| {
        pods::is_active(pod)
            && pods::is_ready(pod)
            && !granted.contains_key(owners::name(&pod.metadata))
    });
    let healthy = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(vec![condition(&before, allowed, budget.metadata.generation, now)]),
        current_healthy: healthy,
        desired_healthy: desired,
        disrupted_pods: Some(granted).filter(|granted| !granted.is_empty()),
        disruptions_allowed: allowed,
        expected_pods: expected,
        observed_generation: budget.metadata.generation,
    };
    if status != before {
        plan.update(PodDisruptionBudget { status: Some(status), ..budget.clone() });
    }
    plan
}

/// Pods whose eviction was granted and that are not on their way yet.
fn still_granted(
    before: &PodDisruptionBudgetStatus,
    own: &[&Pod],
    now: Timestamp,
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let mut granted = BTreeMap::new();
    for (name, at) in before.disrupted_pods.iter().flatten() {
        let is_there = own
            .iter()
            .any(|pod| owners::name(&pod.metadata) == name && !owners::is_deleting(&pod.metadata));
        let until = at.0.checked_add(GRANTED).unwrap_or(now);
        if is_there && until > now {
            plan.look_at(until);
            granted.insert(name.clone(), at.clone());
        }
    }
    granted
}

fn expected(
    budget: &PodDisruptionBudget,
    own: &[&Pod],
    wanted: &dyn Fn(&Pod) -> Option<(String, i32)>,
) -> i32 {
    let spec = budget.spec.as_ref();
    let is_number = spec.is_some_and(|spec| {
        spec.max_unavailable.is_none()
            && matches!(
                spec.min_available,
                Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(_))
            )
    });
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    if is_number {
        return count(own.len());
    }
    let mut by_owner: BTreeMap<String, i32> = BTreeMap::new();
    let mut alone = 0;
    for pod in own {
        match wanted(pod) {
            Some((owner, replicas)) => drop(by_owner.insert(owner, replicas)),
            None => alone += 1,
        }
    }
    by_owner.values().sum::<i32>() + count(alone)
}

fn condition(
    before: &PodDisruptionBudgetStatus,
    allowed: i32,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    const KIND: &str = "DisruptionAllowed";
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let known = before.conditions.iter().flatten().find(|one| one.type_ == KIND);
    let since = known.filter(|known| known.status == status);
    Condition {
        type_: KIND.into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: generation,
        last_transition_time: since.map_or(Time(now), |known| known.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::policy::v1::PodDisruptionBudgetSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::super::action::Action;
    use super::super::kinds::Object;
    use super::super::model::testing::{at, pod, ready};
    use super::*;

    fn allowed(spec: PodDisruptionBudgetSpec, granted: &[&str]) -> i32 {
        let pods: Vec<Pod> = (0..5)
            .map(|number| {
                let pod = pod(&format!("p{number}"));
                if number < 4 { ready(pod, at(0)) } else { pod }
            })
            .collect();
        let pods: Vec<&Pod> = pods.iter().collect();
        let disrupted = granted.iter().map(|name| ((*name).to_owned(), Time(at(0)))).collect();
        let budget = PodDisruptionBudget {
            spec: Some(PodDisruptionBudgetSpec {
                selector: Some(LabelSelector::default()),
                ..spec
            }),
            status: Some(PodDisruptionBudgetStatus {
                disrupted_pods: Some(disrupted),
                ..PodDisruptionBudgetStatus::default()
            }),
            ..PodDisruptionBudget::default()
        };
        let plan = plan(&budget, &pods, &|_| Some(("web".into(), 5)), at(10));
        match &plan.actions[..] {
            [Action::Update(Object::PodDisruptionBudget(budget))] => {
                budget.status.as_ref().unwrap().disruptions_allowed
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_budget_permits_what_can_be_missed() {
        // Proves both kinds of budgets, in numbers and shares, for five wanted and four ready pods,
        // and that an eviction that is granted counts until its pod goes.
        let min = |value| PodDisruptionBudgetSpec {
            min_available: Some(value),
            ..PodDisruptionBudgetSpec::default()
        };
        let max = |value| PodDisruptionBudgetSpec {
            max_unavailable: Some(value),
            ..PodDisruptionBudgetSpec::default()
        };
        let text = |text: &str| IntOrString::String(text.into());
        assert_eq!(allowed(min(IntOrString::Int(3)), &[]), 1);
        assert_eq!(allowed(min(IntOrString::Int(3)), &["p0"]), 0);
        assert_eq!(allowed(min(text("50%")), &[]), 1);
        assert_eq!(allowed(max(IntOrString::Int(1)), &[]), 0);
        assert_eq!(allowed(max(text("40%")), &["gone"]), 1);
        assert_eq!(allowed(max(text("many")), &[]), 0);
    }
}
