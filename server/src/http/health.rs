//! `/health`, `/livez`, `/readyz`: is this member able to serve, and if not, why.

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;

use api::etcdserverpb::AlarmType;

use super::{Metrics, Probe, query, reply};

/// The checks of `/livez`.
const LIVE: &[Check] = &[Check::SerializableRead];
/// The checks of `/readyz`, in the order they are printed.
const READY: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Checks<P> {
    probe: P,
    metrics: Metrics,
}

impl<P: Probe> Checks<P> {
    pub(super) fn new(probe: P, metrics: Metrics) -> Self {
        Self { probe, metrics }
    }
}

/// `/health`: one answer, with the first reason why not.
pub(super) async fn health<P: Probe>(
    State(checks): State<Checks<P>>,
    method: Method,
    uri: Uri,
) -> Response {
    if method != Method::GET {
        return reply::method_not_allowed();
    }
    let query = uri.query();
    let serializable = query::values(query, "serializable").first() == Some(&"true");
    let outcome = judge(&checks.probe, &query::values(query, "exclude"), serializable).await;
    checks.metrics.count_health(outcome.is_ok());
    match outcome {
        Ok(()) => reply::with_type(reply::TEXT, r#"{"health":"true","reason":""}"#.to_owned()),
        Err(reason) => {
            tracing::warn!(reason, "serving /health false");
            let reason = serde_json::Value::from(reason);
            let body = format!(r#"{{"health":"false","reason":{reason}}}"#);
            reply::error(StatusCode::SERVICE_UNAVAILABLE, &body)
        }
    }
}

async fn judge<P: Probe>(probe: &P, excluded: &[&str], serializable: bool) -> Result<(), String> {
    for alarm in probe.alarms() {
        if !excluded.contains(&alarm.as_str_name()) {
            return Err(format!("ALARM {}", alarm.as_str_name()));
        }
    }
    if !serializable && !probe.has_leader() {
        return Err("RAFT NO LEADER".to_owned());
    }
    probe.read(serializable).await.map_err(|error| format!("RANGE ERROR:{error}"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run<P: Probe>(self, probe: &P) -> Result<(), String> {
        match self {
            Check::DataCorruption if probe.alarms().contains(&AlarmType::Corrupt) => {
                Err("alarm activated: CORRUPT".to_owned())
            }
            Check::NonLearner if probe.is_learner() => Err("not supported for learner".to_owned()),
            Check::DataCorruption | Check::NonLearner => Ok(()),
            Check::SerializableRead => probe.read(true).await,
            Check::LinearizableRead => probe.read(false).await,
        }
    }
}

pub(super) async fn livez<P: Probe>(
    State(checks): State<Checks<P>>,
    method: Method,
    uri: Uri,
) -> Response {
    answer(&checks, "livez", LIVE, &method, &uri).await
}

pub(super) async fn readyz<P: Probe>(
    State(checks): State<Checks<P>>,
    method: Method,
    uri: Uri,
) -> Response {
    answer(&checks, "readyz", READY, &method, &uri).await
}

/// All checks but the excluded ones, or the one that the path names.
async fn answer<P: Probe>(
    checks: &Checks<P>,
    kind: &'static str,
    all: &[Check],
    method: &Method,
    uri: &Uri,
) -> Response {
    let query = uri.query();
    let excluded = query::values(query, "exclude");
    let one = uri.path().split('/').nth(2);
    let chosen: Vec<Check> = match one {
        Some(name) => all.iter().copied().filter(|check| check.name() == name).collect(),
        None => all.iter().copied().filter(|c| !excluded.contains(&c.name())).collect(),
    };
    if one.is_some() && chosen.is_empty() {
        return reply::error(StatusCode::NOT_FOUND, "404 page not found");
    }
    if *method != Method::GET {
        return reply::method_not_allowed();
    }
    match run(checks, kind, &chosen).await {
        Ok(lines) if query::has(query, "verbose") => {
            reply::with_type(reply::TEXT, format!("{lines}ok\n"))
        }
        Ok(_) => reply::with_type(reply::TEXT, "ok\n".to_owned()),
        Err(lines) => {
            tracing::error!(path = kind, reason = lines, "Health check error");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, &lines)
        }
    }
}

/// One line for each check; an error if any failed.
async fn run<P: Probe>(
    checks: &Checks<P>,
    kind: &'static str,
    chosen: &[Check],
) -> Result<String, String> {
    let mut lines = String::new();
    let mut failed = false;
    for check in chosen {
        let name = check.name();
        let outcome = check.run(&checks.probe).await;
        checks.metrics.count_check(kind, name, outcome.is_ok());
        match outcome {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(error) => {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: {error}\n"));
            }
        }
    }
    if failed { Err(lines) } else { Ok(lines) }
}
