//! `/metrics`: Prometheus text under etcd's names, for values that this member truly has. A name
//! whose meaning would be another here is left out.
//!
//! Counters that something increments live in [`Metrics`]; values that are read off the member
//! when somebody asks come from a [`Source`].

mod engine_times;
mod grpc;
mod log_times;
mod peers;
mod services;
mod source;

use std::sync::{Arc, OnceLock};

use prometheus::core::Collector;
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGaugeVec, Opts, PullingGauge, Registry, TextEncoder,
};

pub use grpc::{GrpcCall, GrpcLayer};
pub use peers::{MemberCounters, PeerMetrics, SnapshotUnderWay};
use raft::{EngineSource, LogObserver};
pub use services::{CallKind, ServiceMetrics};
pub use source::{Reading, Source};

pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// All metrics of one server. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    health_success: IntCounter,
    health_failures: IntCounter,
    healthcheck: IntGaugeVec,
    healthchecks: IntCounterVec,
    grpc: grpc::Counters,
    /// What a part of the server renders by itself.
    page: OnceLock<Page>,
}

type Page = Box<dyn Fn() -> String + Send + Sync>;

/// Every name below is distinct and well-formed; a test renders them all.
const NAMES_ARE_VALID: &str = "metric names are distinct and well-formed";

impl Metrics {
    /// `extensive`: with a histogram of times for each gRPC method.
    pub fn new(extensive: bool) -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect(NAMES_ARE_VALID);
            registry.register(Box::new(counter.clone())).expect(NAMES_ARE_VALID);
            counter
        };
        let health_success =
            counter("etcd_server_health_success", "The total number of successful health checks");
        let health_failures =
            counter("etcd_server_health_failures", "The total number of failed health checks");
        let healthcheck = IntGaugeVec::new(
            Opts::new("etcd_server_healthcheck", "The result of each kind of healthcheck."),
            &["type", "name"],
        )
        .expect(NAMES_ARE_VALID);
        registry.register(Box::new(healthcheck.clone())).expect(NAMES_ARE_VALID);
        let healthchecks = IntCounterVec::new(
            Opts::new(
                "etcd_server_healthchecks_total",
                "The total number of each kind of healthcheck.",
            ),
            &["type", "name", "status"],
        )
        .expect(NAMES_ARE_VALID);
        registry.register(Box::new(healthchecks.clone())).expect(NAMES_ARE_VALID);
        let unreadable = PullingGauge::new(
            "berth_orchestrator_unreadable_objects",
            "Documents below /registry found so far that are no objects of their kind.",
            Box::new(|| sched::objects::unreadable::count() as f64),
        )
        .expect(NAMES_ARE_VALID);
        registry.register(Box::new(unreadable)).expect(NAMES_ARE_VALID);
        let grpc = grpc::Counters::new(&registry, extensive);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect(NAMES_ARE_VALID);
        Self(Arc::new(Inner {
            registry,
            health_success,
            health_failures,
            healthcheck,
            healthchecks,
            grpc,
            page: OnceLock::new(),
        }))
    }

    /// Measures the log's writes and syncs. Called once, before the member is opened.
    pub fn log_observer(&self) -> LogObserver {
        LogObserver(Arc::new(log_times::LogTimes::new(&self.0.registry)))
    }

    /// `engines`, with their batches measured. Called once, before the member is opened.
    pub fn measured(&self, engines: Box<dyn EngineSource>) -> Box<dyn EngineSource> {
        Box::new(engine_times::Measured::new(&self.0.registry, engines))
    }

    /// Counts what goes between this member, `local`, and others. Called once.
    pub fn peers(&self, local: u64) -> PeerMetrics {
        PeerMetrics::new(&self.0.registry, local)
    }

    /// What the services count of their own work. Called once.
    pub fn services(&self) -> ServiceMetrics {
        ServiceMetrics::new(&self.0.registry)
    }

    /// Adds what the member itself knows. Called once, when there is a member.
    pub fn attach(&self, source: impl Source) {
        self.0
            .registry
            .register(Box::new(source::Collector::new(source)))
            .expect("a member is attached once");
    }

    /// Appends what a part of the server renders, in Prometheus' format and under other names. Called
    /// once at most.
    pub(crate) fn add_page(&self, page: impl Fn() -> String + Send + Sync + 'static) {
        let set = self.0.page.set(Box::new(page));
        debug_assert!(set.is_ok(), "one page is added");
    }

    pub(super) fn count_health(&self, healthy: bool) {
        if healthy { self.0.health_success.inc() } else { self.0.health_failures.inc() }
    }

    pub(super) fn count_check(&self, kind: &str, name: &str, passed: bool) {
        self.0.healthcheck.with_label_values(&[kind, name]).set(i64::from(passed));
        let status = if passed { "success" } else { "error" };
        self.0.healthchecks.with_label_values(&[kind, name, status]).inc();
    }

    /// The text of all metrics now.
    pub(crate) fn render(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.registry.gather(), &mut text)?;
        let mut text = String::from_utf8_lossy(&text).into_owned();
        if let Some(page) = self.0.page.get() {
            text.push_str(&page());
        }
        Ok(text)
    }
}

fn register(registry: &Registry, collector: &(impl Collector + Clone + 'static)) {
    registry.register(Box::new(collector.clone())).expect(NAMES_ARE_VALID);
}
