//! What discovery counts, in Prometheus' text format.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::discovery::gauges::{self, Following, NAMES_ARE_VALID};

/// Counters of one DNS server. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    responses: IntCounterVec,
    pub(super) forwarded: IntCounter,
    pub(super) forward_failures: IntCounter,
    following: Following,
    malformed: IntCounter,
    pub(super) names: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect(NAMES_ARE_VALID);
            registry.register(Box::new(counter.clone())).expect(NAMES_ARE_VALID);
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect(NAMES_ARE_VALID);
            registry.register(Box::new(gauge.clone())).expect(NAMES_ARE_VALID);
            gauge
        };
        let responses = IntCounterVec::new(
            Opts::new("berth_dns_responses_total", "Answers given, by response code."),
            &["code"],
        )
        .expect(NAMES_ARE_VALID);
        registry.register(Box::new(responses.clone())).expect(NAMES_ARE_VALID);
        Self {
            forwarded: counter("berth_dns_forwarded_total", "Questions passed on to others."),
            forward_failures: counter(
                "berth_dns_forward_failures_total",
                "Questions passed on that nobody answered.",
            ),
            following: Following::new(&registry),
            malformed: counter(
                "berth_discovery_malformed_total",
                "Documents that could not be read and were left out.",
            ),
            names: gauge("berth_dns_names", "Services and records that are known."),
            responses,
            registry,
        }
    }
}

impl Metrics {
    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        gauges::render(&self.registry)
    }

    pub(super) fn responded(&self, code: &str) {
        self.responses.with_label_values(&[code]).inc();
    }

    /// `count`: since the start.
    pub(super) fn malformed(&self, count: u64) {
        self.malformed.inc_by(count.saturating_sub(self.malformed.get()));
    }

    pub(super) fn stale(&self, part: &str, is_stale: bool) {
        self.following.stale(part, is_stale);
    }

    pub(super) fn reached(&self, part: &str, revision: i64) {
        self.following.reached(part, revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_are_rendered() {
        // Proves that the names are distinct and well-formed.
        let metrics = Metrics::default();
        metrics.responded("NOERROR");
        metrics.reached("services", 7);
        metrics.stale("services", true);
        let text = metrics.render();
        assert!(text.contains("berth_dns_responses_total{code=\"NOERROR\"} 1"), "{text}");
        assert!(text.contains("berth_discovery_stale{part=\"services\"} 1"), "{text}");
    }
}
