//! Everything a question may be answered from.

use std::collections::HashMap;

use super::cluster::Cluster;
use super::services::Services;
use super::skydns::SkyDns;
use crate::kv::follow::Change;

/// Seconds that an answer may live which rests on a lease whose time is not known yet: about as
/// long as the shortest of leases, and as it takes to ask.
const UNKNOWN_LEASE_TTL_S: u32 = 2;

/// The followed keys, arranged by name.
#[derive(Debug)]
pub(super) struct View {
    pub(super) services: Services,
    pub(super) cluster: Cluster,
    pub(super) skydns: SkyDns,
    /// Seconds each known lease was granted for.
    pub(super) lease_ttls_s: HashMap<i64, u32>,
    /// Whether everything that may be read has been listed once: before that, nobody knows what does not exist.
    pub(super) is_complete: bool,
}

/// A part of the keys, each followed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Services,
    Health,
    ClusterServices,
    EndpointSlices,
    SkyDns,
}

impl Part {
    pub(super) const ALL: [Self; 5] =
        [Self::Services, Self::Health, Self::ClusterServices, Self::EndpointSlices, Self::SkyDns];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Health => "health",
            Self::ClusterServices => "cluster_services",
            Self::EndpointSlices => "endpoint_slices",
            Self::SkyDns => "skydns",
        }
    }
}

impl View {
    pub(super) fn new(skydns_path: &str) -> Self {
        Self {
            services: Services::default(),
            cluster: Cluster::default(),
            skydns: SkyDns::new(skydns_path),
            lease_ttls_s: HashMap::new(),
            is_complete: false,
        }
    }

    /// Takes changes of one part, in their order.
    pub(super) fn apply(&mut self, part: Part, changes: &[Change]) {
        match part {
            Part::Services | Part::Health => self.services.apply(changes),
            Part::ClusterServices => self.cluster.apply_services(changes),
            Part::EndpointSlices => self.cluster.apply_slices(changes),
            Part::SkyDns => changes.iter().for_each(|change| self.skydns.apply(change)),
        }
    }

    /// Seconds that an answer may live which rests on `lease`: nobody should believe in an
    /// instance for longer than its lease outlives it.
    pub(super) fn ttl_s(&self, lease: i64, ttl_s: u32) -> u32 {
        if lease == 0 {
            return ttl_s;
        }
        let granted_s = self.lease_ttls_s.get(&lease).copied();
        ttl_s.min(granted_s.unwrap_or(UNKNOWN_LEASE_TTL_S))
    }

    pub(super) fn malformed(&self) -> u64 {
        self.services.malformed() + self.cluster.malformed() + self.skydns.malformed()
    }

    pub(super) fn names(&self) -> usize {
        self.services.len() + self.cluster.len() + self.skydns.len()
    }
}
