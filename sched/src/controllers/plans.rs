//! From work to a plan: gathers what a planner has to see.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, ReplicationController, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::action::Plan;
use super::id::{Controller, Id, Work};
use super::kinds::Typed;
use super::model::owners;
use super::routes::NODE_LEASES;
use super::world::World;
use super::{
    cron, daemons, deployment, disruption, endpoints, garbage, jobs, namespaces, nodes, replicas,
};

/// All that plans are made from.
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    /// SkyDNS records of Services, by their key.
    pub(crate) records: &'a BTreeMap<String, String>,
    /// The domain of the cluster.
    pub(crate) domain: &'a str,
    pub(crate) now: Timestamp,
}

impl View<'_> {
    pub(crate) fn plan(&self, work: &Work) -> Plan {
        let plan = match work.controller {
            Controller::Endpoints => Some(self.endpoints(&work.id)),
            Controller::Node => Some(self.node(&work.id)),
            Controller::ReplicaSet => self.replica_set(&work.id),
            Controller::Replication => self.replication_controller(&work.id),
            Controller::Deployment => self.deployment(&work.id),
            Controller::DaemonSet => self.daemon_set(&work.id),
            Controller::Job => self.job(&work.id),
            Controller::CronJob => self.cron_job(&work.id),
            Controller::Disruption => self.disruption(&work.id),
            Controller::Namespace => self
                .get::<Namespace>(&work.id)
                .map(|namespace| namespaces::plan(namespace, self.world)),
            Controller::Garbage => Some(garbage::plan(&work.id, self.world)),
        };
        // What is gone needs no plan.
        plan.unwrap_or_default()
    }

    fn get<T: Typed>(&self, id: &Id) -> Option<&T> {
        self.world.get::<T>(&id.namespace, &id.name).map(|stored| &stored.object)
    }

    fn is_taken<T: Typed>(&self, namespace: &str, name: &str) -> bool {
        self.world.exists(&Id::new(T::PLURAL, namespace, name))
    }

    /// The pods that have this controller, and those that have none.
    fn pods_for(&self, meta: &ObjectMeta) -> Vec<&Pod> {
        // The iterator borrows the uid, so it is walked here.
        let own = self.world.dependents(owners::uid(meta));
        let own = own.filter_map(|(_, entry)| Pod::of(entry.known.as_ref()?));
        let own = own
            .map(|stored| &stored.object)
            .filter(|pod| owners::is_controlled_by(&pod.metadata, owners::uid(meta)));
        own.chain(self.world.free_pods(owners::namespace(meta))).collect()
    }

    fn of_pods<'a>(
        &'a self,
        pods: &'a [&'a Pod],
        is_taken: &'a dyn Fn(&str) -> bool,
        id: &Id,
    ) -> replicas::Observed<'a> {
        replicas::Observed {
            pods,
            revision: self.world.revision,
            is_taken,
            is_namespace_ending: self.world.is_ending(&id.namespace),
        }
    }

    fn replica_set(&self, id: &Id) -> Option<Plan> {
        let set = self.get::<ReplicaSet>(id)?;
        let pods = self.pods_for(&set.metadata);
        let is_taken = |name: &str| self.is_taken::<Pod>(&id.namespace, name);
        let seen = self.of_pods(&pods, &is_taken, id);
        Some(replicas::plan_replica_set(set, &seen, self.now))
    }

    fn replication_controller(&self, id: &Id) -> Option<Plan> {
        let set = self.get::<ReplicationController>(id)?;
        let pods = self.pods_for(&set.metadata);
        let is_taken = |name: &str| self.is_taken::<Pod>(&id.namespace, name);
        let seen = self.of_pods(&pods, &is_taken, id);
        Some(replicas::plan_replication_controller(set, &seen, self.now))
    }

    fn deployment(&self, id: &Id) -> Option<Plan> {
        let deployment = self.get::<Deployment>(id)?;
        let uid = owners::uid(&deployment.metadata);
        let is_near = |set: &&ReplicaSet| {
            owners::controller(&set.metadata).is_none_or(|owner| owner.uid == uid)
        };
        let sets: Vec<&ReplicaSet> =
            self.world.all_in::<ReplicaSet>(&id.namespace).filter(is_near).collect();
        let pods: Vec<&Pod> = sets
            .iter()
            .flat_map(|set| self.world.controlled::<Pod>(owners::uid(&set.metadata)))
            .collect();
        let seen = deployment::Observed {
            sets: &sets,
            pods: &pods,
            is_taken: &|name| self.is_taken::<ReplicaSet>(&id.namespace, name),
            is_namespace_ending: self.world.is_ending(&id.namespace),
        };
        Some(deployment::plan(deployment, &seen, self.now))
    }

    fn daemon_set(&self, id: &Id) -> Option<Plan> {
        let set = self.get::<DaemonSet>(id)?;
        let nodes: Vec<&Node> = self.world.all_in::<Node>("").collect();
        let pods: Vec<&Pod> = self.world.controlled::<Pod>(owners::uid(&set.metadata)).collect();
        let seen = daemons::Observed {
            nodes: &nodes,
            pods: &pods,
            revision: self.world.revision,
            is_taken: &|name| self.is_taken::<Pod>(&id.namespace, name),
            is_namespace_ending: self.world.is_ending(&id.namespace),
        };
        Some(daemons::plan(set, &seen, self.now))
    }

    fn job(&self, id: &Id) -> Option<Plan> {
        let job = self.get::<Job>(id)?;
        let pods: Vec<&Pod> = self.world.controlled::<Pod>(owners::uid(&job.metadata)).collect();
        let seen = jobs::Observed {
            pods: &pods,
            revision: self.world.revision,
            is_taken: &|name| self.is_taken::<Pod>(&id.namespace, name),
            is_namespace_ending: self.world.is_ending(&id.namespace),
        };
        Some(jobs::plan(job, &seen, self.now))
    }

    fn cron_job(&self, id: &Id) -> Option<Plan> {
        let cron = self.get::<CronJob>(id)?;
        let jobs: Vec<&Job> = self.world.controlled::<Job>(owners::uid(&cron.metadata)).collect();
        let is_ending = self.world.is_ending(&id.namespace);
        Some(if is_ending { Plan::default() } else { cron::plan(cron, &jobs, self.now) })
    }

    fn disruption(&self, id: &Id) -> Option<Plan> {
        let budget = self.get::<PodDisruptionBudget>(id)?;
        let pods: Vec<&Pod> = self.world.all_in::<Pod>(&id.namespace).collect();
        let wanted = |pod: &Pod| self.wanted_with(pod);
        Some(disruption::plan(budget, &pods, &wanted, self.now))
    }

    /// Who says how many pods like this one there are to be (its uid), and how many.
    fn wanted_with(&self, pod: &Pod) -> Option<(String, i32)> {
        let namespace = owners::namespace(&pod.metadata);
        let owner = owners::controller(&pod.metadata)?;
        let found =
            |uid: &str, replicas: Option<i32>| Some((uid.to_owned(), replicas.unwrap_or(1)));
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.world.get::<ReplicaSet>(namespace, &owner.name)?;
                let above = owners::controller(&set.metadata);
                let above = above.filter(|above| above.kind == "Deployment");
                let above =
                    above.and_then(|above| self.world.get::<Deployment>(namespace, &above.name));
                match above {
                    Some(above) => found(
                        owners::uid(&above.metadata),
                        above.spec.as_ref().and_then(|spec| spec.replicas),
                    ),
                    None => found(&owner.uid, set.spec.as_ref().and_then(|spec| spec.replicas)),
                }
            }
            "ReplicationController" => {
                let set = self.world.get::<ReplicationController>(namespace, &owner.name)?;
                found(&owner.uid, set.spec.as_ref().and_then(|spec| spec.replicas))
            }
            _ => None,
        }
    }

    fn node(&self, id: &Id) -> Plan {
        let pods: Vec<&Pod> = self.world.on_node(&id.name).collect();
        let lease = Id::new("leases", NODE_LEASES, id.name.clone());
        let has_lease = self.world.exists(&lease);
        match self.get::<Node>(id) {
            Some(node) => nodes::plan(node, &nodes::Observed { has_lease, pods: &pods }, self.now),
            // One that lives is registering.
            None if has_lease => Plan::default(),
            None => nodes::plan_absent(&pods),
        }
    }

    fn endpoints(&self, id: &Id) -> Plan {
        let slices: Vec<&EndpointSlice> = self
            .world
            .all_in::<EndpointSlice>(&id.namespace)
            .filter(|slice| endpoints::service_of(slice) == Some(id.name.as_str()))
            .collect();
        let pods: Vec<&Pod> = self.world.all_in::<Pod>(&id.namespace).collect();
        let prefix = endpoints::records_prefix(self.domain, &id.namespace, &id.name);
        let records = self.records.range(prefix.clone()..);
        let records = records.take_while(|(key, _)| key.starts_with(&prefix));
        let records = records.map(|(key, value)| (key.clone(), value.clone())).collect();
        let seen = endpoints::Observed {
            pods: &pods,
            slices: &slices,
            endpoints: self.get::<Endpoints>(id),
            records: &records,
        };
        match self.get::<Service>(id) {
            Some(service) => endpoints::plan(service, &seen, self.domain),
            None => endpoints::plan_absent(&seen),
        }
    }
}
