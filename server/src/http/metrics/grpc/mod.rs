//! `grpc_server_*`: what go-grpc-prometheus counts, at the edge of every gRPC call.
//!
//! [`GrpcLayer`] wraps request and response bodies; nothing inside a service knows of it.

mod body;
mod frames;
mod layer;
mod methods;

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

pub use body::Call as GrpcCall;
pub use layer::GrpcLayer;
use methods::{CODES, Code, METHODS, Shape};

use super::{NAMES_ARE_VALID, register};

/// What is counted, by the path of the method.
#[derive(Clone)]
pub(super) struct Counters {
    methods: Arc<HashMap<String, Arc<Method>>>,
}

/// The counters of one method.
struct Method {
    shape: Shape,
    labels: [&'static str; 3],
    started: IntCounter,
    received: IntCounter,
    sent: IntCounter,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    /// By code. All from the start, as etcd's: an alert needs to see the first failure as a step,
    /// and a panel the difference to what was started.
    handled: [IntCounter; CODES.len()],
    slow_applies: IntCounter,
    /// Only with `--metrics extensive`.
    seconds: Option<prometheus::Histogram>,
}

impl Method {
    fn finish(&self, code: Code, seconds: f64) {
        self.handled[code.index()].inc();
        if let Some(histogram) = &self.seconds {
            histogram.observe(seconds);
        }
    }

    fn is_unary(&self) -> bool {
        self.shape == Shape::Unary
    }
}

const LABELS: &[&str] = &["grpc_type", "grpc_service", "grpc_method"];

impl Counters {
    pub(super) fn new(registry: &Registry, extensive: bool) -> Self {
        let families = Families::new(registry, extensive);
        let methods = METHODS.iter().map(|(shape, service, method)| {
            let path = format!("/{service}/{method}");
            (path, Arc::new(families.method(*shape, service, method)))
        });
        Self { methods: Arc::new(methods.collect()) }
    }

    fn find(&self, path: &str) -> Option<Arc<Method>> {
        self.methods.get(path).cloned()
    }
}

/// The families that all methods share.
struct Families {
    started: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    handled: IntCounterVec,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    slow_applies: IntCounter,
    seconds: Option<HistogramVec>,
}

impl Families {
    fn new(registry: &Registry, extensive: bool) -> Self {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters =
                IntCounterVec::new(Opts::new(name, help), labels).expect(NAMES_ARE_VALID);
            register(registry, &counters);
            counters
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect(NAMES_ARE_VALID);
            register(registry, &counter);
            counter
        };
        let seconds = extensive.then(|| {
            let opts = HistogramOpts::new(
                "grpc_server_handling_seconds",
                "Histogram of response latency (seconds) of gRPC that had been application-level \
                 handled by the server.",
            );
            let seconds = HistogramVec::new(opts, LABELS).expect(NAMES_ARE_VALID);
            register(registry, &seconds);
            seconds
        });
        Self {
            started: counters(
                "grpc_server_started_total",
                "Total number of RPCs started on the server.",
                LABELS,
            ),
            received: counters(
                "grpc_server_msg_received_total",
                "Total number of RPC stream messages received on the server.",
                LABELS,
            ),
            sent: counters(
                "grpc_server_msg_sent_total",
                "Total number of gRPC stream messages sent by the server.",
                LABELS,
            ),
            handled: counters(
                "grpc_server_handled_total",
                "Total number of RPCs completed on the server, regardless of success or failure.",
                &[LABELS, &["grpc_code"]].concat(),
            ),
            received_bytes: counter(
                "etcd_network_client_grpc_received_bytes_total",
                "The total number of bytes received from grpc clients.",
            ),
            sent_bytes: counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "The total number of bytes sent to grpc clients.",
            ),
            slow_applies: counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            ),
            seconds,
        }
    }

    fn method(&self, shape: Shape, service: &'static str, method: &'static str) -> Method {
        let labels = [shape.label(), service, method];
        let [kind, ..] = labels;
        Method {
            shape,
            labels,
            started: self.started.with_label_values(&labels),
            received: self.received.with_label_values(&labels),
            sent: self.sent.with_label_values(&labels),
            received_bytes: self.received_bytes.clone(),
            sent_bytes: self.sent_bytes.clone(),
            handled: CODES
                .map(|code| self.handled.with_label_values(&[kind, service, method, code])),
            slow_applies: self.slow_applies.clone(),
            seconds: self.seconds.as_ref().map(|seconds| seconds.with_label_values(&labels)),
        }
    }
}
