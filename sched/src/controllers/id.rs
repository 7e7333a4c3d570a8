//! Where an object lies, and who looks after it.

use std::fmt;

/// The prefix of all objects.
pub(crate) const REGISTRY: &str = "/registry/";
/// Below it, what is not an object: claims, tokens, elections.
const OWN: &str = "berth";
/// Resources whose objects belong to no namespace, of those that may be in a registry.
const CLUSTER_SCOPED: [&str; 9] = [
    "nodes",
    "namespaces",
    "persistentvolumes",
    "clusterroles",
    "clusterrolebindings",
    "priorityclasses",
    "storageclasses",
    "runtimeclasses",
    "ingressclasses",
];

/// The place of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    /// The plural of its kind, in small letters.
    pub(crate) resource: String,
    /// Empty for what belongs to no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Id {
    pub(crate) fn new(
        resource: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }

    /// The object that lies at a key. `None`: the key is not an object's.
    pub(crate) fn parse(key: &[u8]) -> Option<Self> {
        let path = std::str::from_utf8(key).ok()?.strip_prefix(REGISTRY)?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [OWN, ..] => None,
            [resource, name] if CLUSTER_SCOPED.contains(resource) => {
                Some(Self::new(*resource, "", *name))
            }
            [resource, namespace, name] if !CLUSTER_SCOPED.contains(resource) => {
                Some(Self::new(*resource, *namespace, *name))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(formatter, "{}/{}", self.resource, self.name),
            namespace => write!(formatter, "{}/{namespace}/{}", self.resource, self.name),
        }
    }
}

/// Which planner looks at an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Controller {
    Endpoints,
    Node,
    ReplicaSet,
    Replication,
    Deployment,
    DaemonSet,
    Job,
    CronJob,
    Disruption,
    Namespace,
    Garbage,
}

/// One unit of work: this planner on this object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Work {
    pub(crate) controller: Controller,
    pub(crate) id: Id,
}

impl Work {
    pub(crate) fn new(controller: Controller, id: Id) -> Self {
        Self { controller, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_lies_there() {
        // Proves that objects with and without a namespace are found by their key, and that
        // berth's own keys are no objects.
        let pod = Id::parse(b"/registry/pods/shop/web");
        assert_eq!(pod, Some(Id::new("pods", "shop", "web")));
        assert_eq!(Id::parse(b"/registry/nodes/n1"), Some(Id::new("nodes", "", "n1")));
        for key in ["/registry/berth/allocations/n1", "/registry/pods/web", "/other/pods/a/b"] {
            assert_eq!(Id::parse(key.as_bytes()), None, "{key}");
        }
    }
}
