//! What templates count.

use prometheus::{IntCounterVec, Opts, Registry};

use super::resource::Resource;
use crate::discovery::gauges::{Following, NAMES_ARE_VALID, render};

/// Counters of one `berth template`. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    following: Following,
    applied: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let applied = IntCounterVec::new(
            Opts::new(
                "berth_template_applied_total",
                "Files rendered and, if they had changed, put in place; or not.",
            ),
            &["dest", "outcome"],
        )
        .expect(NAMES_ARE_VALID);
        registry.register(Box::new(applied.clone())).expect(NAMES_ARE_VALID);
        Self { following: Following::new(&registry), applied, registry }
    }
}

impl Metrics {
    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        render(&self.registry)
    }

    pub(super) fn stale(&self, prefix: &str, is_stale: bool) {
        self.following.stale(prefix, is_stale);
    }

    pub(super) fn reached(&self, prefix: &str, revision: i64) {
        self.following.reached(prefix, revision);
    }

    pub(super) fn applied(&self, resource: &Resource, is_ok: bool) {
        let dest = resource.dest().to_string_lossy();
        let outcome = if is_ok { "ok" } else { "failed" };
        self.applied.with_label_values(&[dest.as_ref(), outcome]).inc();
    }
}
