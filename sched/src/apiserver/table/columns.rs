//! Which columns each kind has. Those after the bar are for `-o wide`.

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
    ("events", "Last Seen,Type,Reason,Object,Message|Subobject,Source,First Seen,Count,Name"),
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
    let (narrow, wide) = found.and_then(|(_, set)| set.split_once('|')).unwrap_or(("Name,Age", ""));
    let names = |text: &'static str| text.split(',').filter(|name| !name.is_empty());
    names(narrow).map(|name| (name, 0)).chain(names(wide).map(|name| (name, 1)))
}
