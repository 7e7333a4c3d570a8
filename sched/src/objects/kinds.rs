//! The table of kinds: how each is called and where it is served.

/// A kind of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: &'static str,
    /// The version that is stored, and offered first.
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub namespaced: bool,
    pub categories: &'static [&'static str],
    /// Other groups and versions that serve the same objects.
    pub aliases: &'static [(&'static str, &'static str)],
}

impl Resource {
    /// `v1`, or `apps/v1`: as an object of it says.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// What messages call it: `pods`, `deployments.apps`.
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Whether it is served in this group and version.
    pub fn is_in(&self, group: &str, version: &str) -> bool {
        (self.group, self.version) == (group, version) || self.aliases.contains(&(group, version))
    }
}

/// As objects write it.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The kind with this plural, which is unique.
pub fn by_plural(plural: &str) -> Option<&'static Resource> {
    ALL.iter().find(|resource| resource.plural == plural)
}

/// The kind with this name, which is unique; of whatever group.
pub fn by_kind(kind: &str) -> Option<&'static Resource> {
    ALL.iter().find(|resource| resource.kind == kind)
}

const EXT: (&str, &str) = ("extensions", "v1beta1");
const WORKLOAD: &[&str] = &["all"];

/// A kind that lives in namespaces and is served once.
const fn namespaced(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: &'static [&'static str],
) -> Resource {
    Resource {
        group,
        version,
        kind,
        plural,
        singular,
        short_names,
        namespaced: true,
        categories: &[],
        aliases: &[],
    }
}

impl Resource {
    const fn in_all(mut self) -> Self {
        self.categories = WORKLOAD;
        self
    }

    const fn of_cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn also(mut self, aliases: &'static [(&'static str, &'static str)]) -> Self {
        self.aliases = aliases;
        self
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// Every kind that is kept, in the order in which they are offered.
pub static ALL: &[Resource] = &[
    namespaced("", "v1", "Namespace", "namespaces", "namespace", &["ns"]).of_cluster(),
    namespaced("", "v1", "Node", "nodes", "node", &["no"]).of_cluster(),
    namespaced("", "v1", "Pod", "pods", "pod", &["po"]).in_all(),
    namespaced(
        "",
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "replicationcontroller",
        &["rc"],
    )
    .in_all(),
    namespaced("", "v1", "Service", "services", "service", &["svc"]).in_all(),
    namespaced("", "v1", "Endpoints", "endpoints", "endpoints", &["ep"]),
    namespaced("", "v1", "ConfigMap", "configmaps", "configmap", &["cm"]),
    namespaced("", "v1", "Secret", "secrets", "secret", &[]),
    namespaced("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount", &["sa"]),
    namespaced("", "v1", "Event", "events", "event", &["ev"]),
    namespaced("apps", "v1", "DaemonSet", "daemonsets", "daemonset", &["ds"]).in_all(),
    namespaced("apps", "v1", "Deployment", "deployments", "deployment", &["deploy"])
        .in_all()
        .also(&[EXT]),
    namespaced("apps", "v1", "ReplicaSet", "replicasets", "replicaset", &["rs"]).in_all(),
    namespaced(
        "apps",
        "v1",
        "ControllerRevision",
        "controllerrevisions",
        "controllerrevision",
        &[],
    ),
    namespaced("batch", "v1", "Job", "jobs", "job", &[]).in_all(),
    namespaced("batch", "v1", "CronJob", "cronjobs", "cronjob", &["cj"])
        .in_all()
        .also(&[("batch", "v1beta1")]),
    namespaced(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        &["hpa"],
    )
    .in_all()
    .also(&[("autoscaling", "v1")]),
    namespaced(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "poddisruptionbudget",
        &["pdb"],
    )
    .also(&[("policy", "v1beta1")]),
    namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", &[]),
    namespaced("coordination.k8s.io", "v1", "Lease", "leases", "lease", &[]),
    namespaced("networking.k8s.io", "v1", "Ingress", "ingresses", "ingress", &["ing"]),
    namespaced(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        "priorityclass",
        &["pc"],
    )
    .of_cluster(),
    namespaced(RBAC, "v1", "Role", "roles", "role", &[]),
    namespaced(RBAC, "v1", "RoleBinding", "rolebindings", "rolebinding", &[]),
    namespaced(RBAC, "v1", "ClusterRole", "clusterroles", "clusterrole", &[]).of_cluster(),
    namespaced(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", &[])
        .of_cluster(),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        // Proves that a plural, a kind and a short name each mean one thing: keys and kubectl rely
        // on it.
        let mut seen = HashSet::new();
        for resource in ALL {
            assert!(seen.insert(resource.plural), "{}", resource.plural);
            assert!(seen.insert(resource.kind), "{}", resource.kind);
            for short in resource.short_names {
                assert!(seen.insert(short), "{short}");
            }
        }
    }
}
