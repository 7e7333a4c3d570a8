//! How far what is followed has come, for Prometheus.

use prometheus::{Encoder, IntGaugeVec, Opts, Registry, TextEncoder};

/// Every name is distinct and well-formed; tests render them all.
pub(super) const NAMES_ARE_VALID: &str = "metric names are distinct and well-formed";

/// Gauges of all followed parts of the store.
#[derive(Clone)]
pub(super) struct Following {
    stale: IntGaugeVec,
    revision: IntGaugeVec,
}

impl Following {
    pub(super) fn new(registry: &Registry) -> Self {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["part"]).expect(NAMES_ARE_VALID);
            registry.register(Box::new(gauges.clone())).expect(NAMES_ARE_VALID);
            gauges
        };
        Self {
            stale: gauges(
                "berth_discovery_stale",
                "1 while the store cannot be followed and the last known state is in use.",
            ),
            revision: gauges(
                "berth_discovery_revision",
                "The revision of the store that the followed keys have come to.",
            ),
        }
    }

    pub(super) fn stale(&self, part: &str, is_stale: bool) {
        self.stale.with_label_values(&[part]).set(i64::from(is_stale));
    }

    pub(super) fn reached(&self, part: &str, revision: i64) {
        self.revision.with_label_values(&[part]).set(revision);
        self.stale(part, false);
    }
}

/// All metrics of a registry in Prometheus' text format.
pub(super) fn render(registry: &Registry) -> String {
    let mut text = Vec::new();
    // Writing to memory cannot fail, and the families are well-formed.
    let _ = TextEncoder::new().encode(&registry.gather(), &mut text);
    String::from_utf8(text).unwrap_or_default()
}
