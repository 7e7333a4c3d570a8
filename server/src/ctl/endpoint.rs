//! endpoint health, status and hashkv: one answer per endpoint.

use std::time::{Duration, Instant};

use api::etcdserverpb::{
    AlarmRequest, HashKvRequest, HashKvResponse, RangeRequest, StatusRequest, StatusResponse,
};
use bytes::Bytes;
use clap::Subcommand;

use super::args::Format;
use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::output::fields::field;
use super::output::{fields, json, simple, table};
use super::quote::quote;

#[derive(Debug, Subcommand)]
pub(super) enum EndpointVerb {
    /// Checks the healthiness of endpoints specified in `--endpoints` flag
    Health,
    /// Prints out the status of endpoints specified in `--endpoints` flag
    Status,
    /// Prints the KV history hash for each endpoint in --endpoints
    Hashkv {
        /// maximum revision to hash (default: all revisions)
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
}

struct Health {
    endpoint: String,
    took: Duration,
    error: Option<String>,
}

pub(super) async fn endpoint(verb: EndpointVerb, cluster: bool, session: &mut Session) -> Outcome {
    let endpoints = session.each_endpoint(cluster).await?;
    match verb {
        EndpointVerb::Health => health(endpoints, session).await,
        EndpointVerb::Status => status(endpoints, session).await,
        EndpointVerb::Hashkv { rev } => hash_kv(endpoints, rev, session).await,
    }
}

async fn health(endpoints: Vec<String>, session: &Session) -> Outcome {
    let mut all = Vec::new();
    for endpoint in endpoints {
        let start = Instant::now();
        let error = probe(&endpoint, session).await.err().map(|failure| failure.message);
        all.push(Health { endpoint, took: start.elapsed(), error });
    }
    print_health(&all, session.out.format);
    if all.iter().any(|health| health.error.is_some()) {
        return Err(Failure::error("unhealthy cluster"));
    }
    Ok(())
}

/// Healthy is who serves a linearizable read and reports no alarm.
async fn probe(endpoint: &str, session: &Session) -> Result<(), Failure> {
    let mut kv = session.kv_of(endpoint).await?;
    let request = RangeRequest { key: Bytes::from_static(b"health"), ..RangeRequest::default() };
    match session.call(kv.range(request)).await {
        // The answer came from consensus, so the member is well; the caller lacks the right.
        Err(failure) if failure.message == "etcdserver: permission denied" => {}
        answer => drop(answer?),
    }
    let mut maintenance = session.maintenance_of(endpoint).await?;
    let Ok(alarms) = session.call(maintenance.alarm(AlarmRequest::default())).await else {
        return Ok(());
    };
    if alarms.alarms.is_empty() {
        return Ok(());
    }
    let alarms: Vec<_> = alarms.alarms.iter().map(|alarm| alarm.alarm().as_str_name()).collect();
    Err(Failure::error(format!("Active Alarm(s): {}", alarms.join(" "))))
}

fn print_health(all: &[Health], format: Format) {
    match format {
        Format::Simple => all.iter().for_each(health_line),
        Format::Fields => all.iter().for_each(health_fields),
        Format::Json => json::print(&all.iter().map(health_json).collect()),
        Format::Table => {
            let rows = all.iter().map(health_columns).collect();
            table::print(&["ENDPOINT", "HEALTH", "TOOK", "ERROR"], rows);
        }
    }
}

/// To standard error, as etcdctl does: a script reads the exit status.
fn health_line(health: &Health) {
    let endpoint = &health.endpoint;
    match &health.error {
        None => eprintln!(
            "{endpoint} is healthy: successfully committed proposal: took = {:?}",
            health.took
        ),
        Some(error) => {
            eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
        }
    }
}

fn health_fields(health: &Health) {
    field("Endpoint", quote(health.endpoint.as_bytes()));
    field("Health", health.error.is_none());
    field("Took", format_args!("{:?}", health.took));
    field("Error", health.error.as_deref().unwrap_or_default());
    println!();
}

fn health_json(health: &Health) -> serde_json::Value {
    let mut value = json::full_object([
        ("endpoint", health.endpoint.clone().into()),
        ("health", health.error.is_none().into()),
        ("took", format!("{:?}", health.took).into()),
    ]);
    if let Some(error) = &health.error {
        value["error"] = error.clone().into();
    }
    value
}

fn health_columns(health: &Health) -> Vec<String> {
    vec![
        health.endpoint.clone(),
        health.error.is_none().to_string(),
        format!("{:?}", health.took),
        health.error.clone().unwrap_or_default(),
    ]
}

/// Asks each endpoint; one that fails is reported and fails the command at the end.
async fn ask_each<T>(
    endpoints: Vec<String>,
    what: &str,
    ask: impl AsyncFn(&str) -> Result<T, Failure>,
) -> (Vec<(String, T)>, Outcome) {
    let mut answers = Vec::new();
    let mut outcome = Ok(());
    for endpoint in endpoints {
        match ask(&endpoint).await {
            Ok(answer) => answers.push((endpoint, answer)),
            Err(failure) => {
                eprintln!("Failed to get the {what} of endpoint {endpoint} ({})", failure.message);
                outcome = Err(failure);
            }
        }
    }
    (answers, outcome)
}

async fn status(endpoints: Vec<String>, session: &Session) -> Outcome {
    let ask = async |endpoint: &str| {
        let mut client = session.maintenance_of(endpoint).await?;
        session.call(client.status(StatusRequest {})).await
    };
    let (all, outcome) = ask_each(endpoints, "status", ask).await;
    print_status(&all, session.out.format);
    outcome
}

fn print_status(all: &[(String, StatusResponse)], format: Format) {
    let columns = || all.iter().map(|(endpoint, status)| simple::status_columns(endpoint, status));
    match format {
        Format::Simple => columns().for_each(|columns| println!("{}", columns.join(", "))),
        Format::Fields => all.iter().for_each(|(endpoint, s)| fields::status(endpoint, s)),
        Format::Json => json::print(&all.iter().map(status_json).collect()),
        Format::Table => table::print(
            &[
                "ENDPOINT",
                "ID",
                "VERSION",
                "DB SIZE",
                "IS LEADER",
                "IS LEARNER",
                "RAFT TERM",
                "RAFT INDEX",
                "RAFT APPLIED INDEX",
                "ERRORS",
            ],
            columns().collect(),
        ),
    }
}

fn status_json((endpoint, status): &(String, StatusResponse)) -> serde_json::Value {
    json::full_object([("Endpoint", endpoint.clone().into()), ("Status", json::status(status))])
}

async fn hash_kv(endpoints: Vec<String>, revision: i64, session: &Session) -> Outcome {
    let ask = async |endpoint: &str| {
        let mut client = session.maintenance_of(endpoint).await?;
        session.call(client.hash_kv(HashKvRequest { revision })).await
    };
    let (all, outcome) = ask_each(endpoints, "hash", ask).await;
    match session.out.format {
        Format::Simple => {
            all.iter().for_each(|(endpoint, answer)| println!("{endpoint}, {}", answer.hash));
        }
        Format::Fields => all.iter().for_each(hash_fields),
        Format::Json => json::print(&all.iter().map(hash_json).collect()),
        Format::Table => {
            let row = |(endpoint, answer): &(String, HashKvResponse)| {
                vec![endpoint.clone(), answer.hash.to_string()]
            };
            table::print(&["ENDPOINT", "HASH"], all.iter().map(row).collect());
        }
    }
    outcome
}

fn hash_fields((endpoint, answer): &(String, HashKvResponse)) {
    fields::header(answer.header.as_ref());
    field("Endpoint", quote(endpoint.as_bytes()));
    field("Hash", answer.hash);
    println!();
}

fn hash_json((endpoint, answer): &(String, HashKvResponse)) -> serde_json::Value {
    let hash = json::object([
        ("header", json::header(answer.header.as_ref())),
        ("hash", answer.hash.into()),
        ("compact_revision", answer.compact_revision.into()),
    ]);
    json::full_object([("Endpoint", endpoint.clone().into()), ("HashKV", hash)])
}
