//! What pods ask for and nodes have, as numbers that can be added and compared.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::{milli_units, units};

/// What a container without a request is taken to need when nodes are scored (never when they are
/// filtered), as in Kubernetes: otherwise nothing would spread pods that ask for nothing.
const SCORED_CPU_MILLI: i64 = 100;
const SCORED_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// Amounts of resources. All are at least 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
    pub ephemeral_bytes: i64,
    /// Others by name (`hugepages-2Mi`, `example.com/gpu`), without those of 0.
    pub other: BTreeMap<String, i64>,
}

/// Processor and memory as scores see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scored {
    pub cpu_milli: i64,
    pub memory_bytes: i64,
}

type List = BTreeMap<String, Quantity>;

impl Resources {
    /// Amounts by name; what cannot be read counts as nothing (the API server refuses it).
    pub fn from_list(list: Option<&List>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            match name.as_str() {
                "cpu" => resources.cpu_milli = milli_units(quantity).unwrap_or(0),
                "memory" => resources.memory_bytes = units(quantity).unwrap_or(0),
                "ephemeral-storage" => resources.ephemeral_bytes = units(quantity).unwrap_or(0),
                "pods" => {}
                _ => {
                    let amount = units(quantity).unwrap_or(0);
                    if amount > 0 {
                        resources.other.insert(name.clone(), amount);
                    }
                }
            }
        }
        resources
    }

    /// What a whole pod needs at once: its containers and sidecars together, or an init container
    /// with the sidecars that were started before it, whichever is more.
    pub fn of_pod(spec: &PodSpec) -> Self {
        let mut total = Self::default();
        for container in &spec.containers {
            total.add(&requests(container));
        }
        let (mut sidecars, mut peak) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars.add(&requests(container));
                peak.raise_to(&sidecars);
            } else {
                let mut alone = requests(container);
                alone.add(&sidecars);
                peak.raise_to(&alone);
            }
        }
        total.add(&sidecars);
        total.raise_to(&peak);
        if let Some(of_pod) = spec.resources.as_ref() {
            total.replace_by(of_pod.requests.as_ref().or(of_pod.limits.as_ref()));
        }
        total.add(&Self::from_list(spec.overhead.as_ref()));
        total
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    /// Takes away what was added.
    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
        self.other.retain(|_, amount| *amount != 0);
    }

    fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, with: &Self, operation: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = operation(self.cpu_milli, with.cpu_milli);
        self.memory_bytes = operation(self.memory_bytes, with.memory_bytes);
        self.ephemeral_bytes = operation(self.ephemeral_bytes, with.ephemeral_bytes);
        for (name, amount) in &with.other {
            let own = self.other.entry(name.clone()).or_default();
            *own = operation(*own, *amount);
        }
    }

    /// What is said of the pod as a whole stands for what its containers say.
    fn replace_by(&mut self, list: Option<&List>) {
        let Some(list) = list else { return };
        let whole = Self::from_list(Some(list));
        if list.contains_key("cpu") {
            self.cpu_milli = whole.cpu_milli;
        }
        if list.contains_key("memory") {
            self.memory_bytes = whole.memory_bytes;
        }
    }

    /// Which of the requests do not fit beside what is used, by name. Nothing asked for always
    /// fits, on a node with more than it can hold too.
    pub fn lacking<'a>(
        &'a self,
        used: &'a Self,
        allocatable: &'a Self,
    ) -> impl Iterator<Item = &'a str> {
        let plain = [
            ("cpu", self.cpu_milli, used.cpu_milli, allocatable.cpu_milli),
            ("memory", self.memory_bytes, used.memory_bytes, allocatable.memory_bytes),
            (
                "ephemeral-storage",
                self.ephemeral_bytes,
                used.ephemeral_bytes,
                allocatable.ephemeral_bytes,
            ),
        ];
        let other = self.other.iter().map(|(name, asked)| {
            let of = |list: &BTreeMap<String, i64>| list.get(name).copied().unwrap_or(0);
            (name.as_str(), *asked, of(&used.other), of(&allocatable.other))
        });
        plain.into_iter().chain(other).filter_map(|(name, asked, used, allocatable)| {
            (asked > 0 && asked > allocatable.saturating_sub(used)).then_some(name)
        })
    }
}

impl Scored {
    pub fn of_pod(spec: &PodSpec, requests: &Resources) -> Self {
        let without = |name: &str| {
            spec.containers.iter().filter(|container| !names_request(container, name)).count()
        };
        let times = |count: usize, each: i64| i64::try_from(count).unwrap_or(0) * each;
        Self {
            cpu_milli: requests.cpu_milli.saturating_add(times(without("cpu"), SCORED_CPU_MILLI)),
            memory_bytes: requests
                .memory_bytes
                .saturating_add(times(without("memory"), SCORED_MEMORY_BYTES)),
        }
    }
}

/// Requests, or where there are none the limits, as the API server would have filled them in.
fn requests(container: &Container) -> Resources {
    let Some(resources) = container.resources.as_ref() else { return Resources::default() };
    let mut list = resources.limits.clone().unwrap_or_default();
    list.extend(resources.requests.clone().unwrap_or_default());
    Resources::from_list(Some(&list))
}

fn names_request(container: &Container, name: &str) -> bool {
    let names = |list: &Option<List>| list.as_ref().is_some_and(|list| list.contains_key(name));
    container.resources.as_ref().is_some_and(|own| names(&own.requests) || names(&own.limits))
}
