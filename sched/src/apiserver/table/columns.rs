//! Which columns each kind has. A bar changes between those that are always shown and those that
//! only `-o wide` shows: the order is that of Kubernetes.

const SETS: &[(&str, &str)] = &[
    ("pods", "Name,Ready,Status,Restarts,Age|IP,Node,Nominated Node,Readiness Gates"),
    (
        "nodes",
        "Name,Status,Roles,Age,Version|Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime",
    ),
    ("namespaces", "Name,Status,Age|"),
    ("services", "Name,Type,Cluster-IP,External-IP,Port(s),Age|Selector"),
    ("endpoints", "Name,Endpoints,Age|"),
    ("endpointslices", "Name,AddressType,Ports,Endpoints,Age|"),
    ("configmaps", "Name,Data,Age|"),
    ("secrets", "Name,Type,Data,Age|"),
    ("serviceaccounts", "Name,Secrets,Age|"),
    ("events", "Last Seen,Type,Reason,Object|Subobject,Source|Message|First Seen,Count,Name"),
    ("replicationcontrollers", "Name,Desired,Current,Ready,Age|Containers,Images,Selector"),
    ("replicasets", "Name,Desired,Current,Ready,Age|Containers,Images,Selector"),
    ("deployments", "Name,Ready,Up-to-date,Available,Age|Containers,Images,Selector"),
    (
        "daemonsets",
        "Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age|Containers,Images,Selector",
    ),
    ("controllerrevisions", "Name,Controller,Revision,Age|"),
    ("jobs", "Name,Status,Completions,Duration,Age|Containers,Images,Selector"),
    (
        "cronjobs",
        "Name,Schedule,Timezone,Suspend,Active,Last Schedule,Age|Containers,Images,Selector",
    ),
    ("horizontalpodautoscalers", "Name,Reference,Targets,MinPods,MaxPods,Replicas,Age|"),
    ("poddisruptionbudgets", "Name,Min Available,Max Unavailable,Allowed Disruptions,Age|"),
    ("leases", "Name,Holder,Age|"),
    ("ingresses", "Name,Class,Hosts,Address,Ports,Age|"),
    ("priorityclasses", "Name,Value,Global-Default,Age,PreemptionPolicy|"),
    ("roles", "Name,Created At|"),
    ("clusterroles", "Name,Created At|"),
    ("rolebindings", "Name,Role,Age|Users,Groups,ServiceAccounts"),
    ("clusterrolebindings", "Name,Role,Age|Users,Groups,ServiceAccounts"),
];

/// The names of the columns, and 1 for those that only wide output shows.
pub(super) fn of(plural: &str) -> impl Iterator<Item = (&'static str, u8)> {
    let found = SETS.iter().find(|(kind, _)| *kind == plural);
    let set = found.map_or("Name,Age", |(_, set)| set);
    set.split('|').zip([0, 1].into_iter().cycle()).flat_map(|(names, priority)| {
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(move |name| (name, priority))
    })
}
