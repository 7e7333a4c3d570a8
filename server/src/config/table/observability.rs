//! Logs, metrics, traces.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT};

const NO_ROTATION: &str = "rotate the file from outside, as logrotate with copytruncate does";

/// etcd's own default for `log-rotation-config-json`.
const ROTATION: &str =
    r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#;

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    supported("logger", Choice(&["zap"]), "zap", "shape of log lines; `zap` alone"),
    supported("log-level", Choice(&["debug", "info", "warn", "error", "panic", "fatal"]), "info", "least severe lines to write"),
    supported("log-format", Choice(&["json", "console"]), "json", "how a line is written"),
    supported("log-outputs", Words, "default", "stderr, stdout, or files, comma-separated"),
    supported("metrics", Choice(&["basic", "extensive"]), "basic", "extensive adds a histogram for each gRPC method"),
    supported("listen-metrics-urls", Urls, "", "more addresses for metrics and health"),
    supported("warning-unary-request-duration", Duration, "300ms", "a warning is logged for each slower request"),
    accepted("disable-log-sampling", Bool, "false", "log lines are never sampled"),
    accepted("log-rotation-config-json", Text, ROTATION, "it is read by --enable-log-rotation alone, which is off"),
    supported("enable-distributed-tracing", Bool, "false", "send a span for each gRPC call to a collector, by OTLP"),
    supported("distributed-tracing-address", Text, "localhost:4317", "host and port of the collector (gRPC, without TLS)"),
    supported("distributed-tracing-service-name", Text, "etcd", "service.name of the spans; the same for all members"),
    supported("distributed-tracing-instance-id", Text, "", "service.instance.id of the spans; another for each member"),
    supported("distributed-tracing-sampling-rate", UINT, "0", "of a million calls, how many are traced whose caller does not trace them"),
    refused("enable-log-rotation", Bool, "false", NO_ROTATION),
    supported("enable-pprof", Bool, "false", "serve a CPU profile at /debug/pprof/profile?seconds=N"),
];
