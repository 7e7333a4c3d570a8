//! Which work a change makes.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::endpoints;
use super::id::{Controller, Id, Work};
use super::kinds::{Known, Typed};
use super::model::selectors::{self, Labels};
use super::model::{owners, pods};
use super::world::{Entry, Touched, World};

/// Where the nodes' leases are.
pub(crate) const NODE_LEASES: &str = "kube-node-lease";

/// All work that a change may make; work that turns out to be none costs one look.
pub(crate) fn works(world: &World, touched: &Touched) -> Vec<Work> {
    let mut works = Vec::new();
    let after = world.entry(&touched.id);
    for entry in touched.before.iter().chain(after) {
        route(world, &touched.id, entry, &mut works);
    }
    garbage(world, touched, after, &mut works);
    if world.is_ending(&touched.id.namespace) {
        let id = Id::new("namespaces", "", touched.id.namespace.clone());
        works.push(Work::new(Controller::Namespace, id));
    }
    works
}

fn route(world: &World, id: &Id, entry: &Entry, works: &mut Vec<Work>) {
    let mut own = |controller| works.push(Work::new(controller, id.clone()));
    match &entry.known {
        Some(Known::Pod(pod)) => of_pod(world, pod, works),
        Some(Known::ReplicaSet(set)) => {
            own(Controller::ReplicaSet);
            match owners::controller(&set.metadata) {
                Some(owner) => of_owner(&id.namespace, owner, works),
                None => deployments(world, id, &set.metadata.labels, works),
            }
            budgets(world, &id.namespace, works);
        }
        Some(Known::ReplicationController(_)) => {
            own(Controller::Replication);
            budgets(world, &id.namespace, works);
        }
        Some(Known::Deployment(_)) => {
            own(Controller::Deployment);
            budgets(world, &id.namespace, works);
        }
        Some(Known::DaemonSet(_)) => own(Controller::DaemonSet),
        Some(Known::Job(job)) => {
            own(Controller::Job);
            if let Some(owner) = owners::controller(&job.metadata) {
                of_owner(&id.namespace, owner, works);
            }
        }
        Some(Known::CronJob(_)) => own(Controller::CronJob),
        Some(Known::Node(_)) => {
            own(Controller::Node);
            daemons(world, works);
        }
        Some(Known::Service(_)) => own(Controller::Endpoints),
        Some(Known::Endpoints(_)) => {
            let id = Id::new("services", id.namespace.clone(), id.name.clone());
            works.push(Work::new(Controller::Endpoints, id));
        }
        Some(Known::EndpointSlice(slice)) => {
            if let Some(service) = endpoints::service_of(slice) {
                let id = Id::new("services", id.namespace.clone(), service);
                works.push(Work::new(Controller::Endpoints, id));
            }
        }
        Some(Known::Namespace(_)) => own(Controller::Namespace),
        Some(Known::PodDisruptionBudget(_)) => own(Controller::Disruption),
        None if id.resource == "leases" && id.namespace == NODE_LEASES => {
            works.push(Work::new(Controller::Node, Id::new("nodes", "", id.name.clone())));
        }
        None => {}
    }
}

fn of_pod(world: &World, pod: &Pod, works: &mut Vec<Work>) {
    let namespace = owners::namespace(&pod.metadata);
    let labels = selectors::labels(&pod.metadata.labels);
    match owners::controller(&pod.metadata) {
        Some(owner) => {
            of_owner(namespace, owner, works);
            let set = world.get::<ReplicaSet>(namespace, &owner.name);
            if let Some(owner) = set.and_then(|set| owners::controller(&set.metadata)) {
                of_owner(namespace, owner, works);
            }
        }
        None => {
            for set in world.all_in::<ReplicaSet>(namespace) {
                if fits(set, labels) {
                    push(Controller::ReplicaSet, set, works);
                }
            }
            world
                .all_in::<ReplicationController>(namespace)
                .for_each(|set| push(Controller::Replication, set, works));
        }
    }
    for service in world.all_in::<Service>(namespace) {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if selector.is_some_and(|selector| selectors::has_all(labels, selector)) {
            push(Controller::Endpoints, service, works);
        }
    }
    for budget in world.all_in::<PodDisruptionBudget>(namespace) {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if selector.is_some_and(|selector| selectors::matches(selector, labels)) {
            push(Controller::Disruption, budget, works);
        }
    }
    if let Some(node) = pods::node(pod) {
        works.push(Work::new(Controller::Node, Id::new("nodes", "", node)));
    }
}

fn of_owner(namespace: &str, owner: &OwnerReference, works: &mut Vec<Work>) {
    let (controller, resource) = match owner.kind.as_str() {
        "ReplicaSet" => (Controller::ReplicaSet, "replicasets"),
        "ReplicationController" => (Controller::Replication, "replicationcontrollers"),
        "Deployment" => (Controller::Deployment, "deployments"),
        "DaemonSet" => (Controller::DaemonSet, "daemonsets"),
        "Job" => (Controller::Job, "jobs"),
        "CronJob" => (Controller::CronJob, "cronjobs"),
        _ => return,
    };
    works.push(Work::new(controller, Id::new(resource, namespace, owner.name.clone())));
}

fn push<T: Typed>(controller: Controller, object: &T, works: &mut Vec<Work>) {
    let meta = object.metadata();
    let id = Id::new(T::PLURAL, owners::namespace(meta), owners::name(meta));
    works.push(Work::new(controller, id));
}

fn fits(set: &ReplicaSet, labels: &Labels) -> bool {
    set.spec.as_ref().is_some_and(|spec| selectors::matches(&spec.selector, labels))
}

fn deployments(world: &World, id: &Id, labels: &Option<Labels>, works: &mut Vec<Work>) {
    let labels = selectors::labels(labels);
    for deployment in world.all_in::<Deployment>(&id.namespace) {
        let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
        if selector.is_some_and(|selector| selectors::matches(selector, labels)) {
            push(Controller::Deployment, deployment, works);
        }
    }
}

fn budgets(world: &World, namespace: &str, works: &mut Vec<Work>) {
    let all = world.all_in::<PodDisruptionBudget>(namespace);
    all.for_each(|budget| push(Controller::Disruption, budget, works));
}

fn daemons(world: &World, works: &mut Vec<Work>) {
    let all = world.every::<DaemonSet>();
    all.for_each(|set| push(Controller::DaemonSet, set, works));
}

/// Objects whose owner went, owners that wait for what they own, and what is being deleted.
fn garbage(world: &World, touched: &Touched, after: Option<&Entry>, works: &mut Vec<Work>) {
    let mut look = |id: &Id| works.push(Work::new(Controller::Garbage, id.clone()));
    if let Some(after) = after {
        let is_held = after.meta.is_deleting && !after.meta.finalizers.is_empty();
        if is_held || !after.meta.owners.is_empty() {
            look(&touched.id);
        }
    }
    let Some(before) = &touched.before else { return };
    let is_gone = after.is_none_or(|after| after.meta.uid != before.meta.uid);
    if is_gone {
        world.dependents(&before.meta.uid).for_each(|(id, _)| look(id));
    }
    for owner in &before.meta.owners {
        if let Some(id) = world.by_uid(&owner.uid)
            && world.entry(id).is_some_and(|owner| owner.meta.is_deleting)
        {
            look(id);
        }
    }
}
