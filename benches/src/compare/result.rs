//! Rounds, what they come to, and how that is told.

use std::time::Duration;

use serde::Serialize;

use super::load::Outcome;
use crate::figures::{Figure, Report, median};

pub(super) const COLUMNS: [&str; 9] = [
    "throughput",
    "p50",
    "p99",
    "p99.9",
    "max",
    "CPU per million",
    "peak memory",
    "on disk",
    "failed",
];

/// One round of one workload on one server.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    per_s: f64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    cpu_us_each: f64,
    peak_bytes: u64,
    disk_bytes: u64,
    failed: u64,
}

impl Round {
    #[expect(clippy::cast_precision_loss, reason = "counts of a measurement")]
    pub(super) fn new(outcome: &Outcome, peak_bytes: u64, disk_bytes: u64) -> Self {
        let quantile = |quantile| outcome.latencies.value_at_quantile(quantile);
        let count = outcome.count.max(1) as f64;
        Self {
            per_s: outcome.count as f64 / outcome.time.as_secs_f64(),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: outcome.latencies.max(),
            cpu_us_each: outcome.cpu.as_secs_f64() * 1e6 / count,
            peak_bytes,
            disk_bytes,
            failed: outcome.failed,
        }
    }

    /// The median latency.
    pub(super) fn p50(&self) -> Duration {
        Duration::from_micros(self.p50_us)
    }

    fn figures(&self) -> [Figure; 9] {
        let time = |us| Figure::Time(Duration::from_micros(us));
        let bytes = |bytes| Figure::Bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
        [
            Figure::Rate(self.per_s),
            time(self.p50_us),
            time(self.p99_us),
            time(self.p999_us),
            time(self.max_us),
            // A microsecond each is a second per million.
            Figure::Time(Duration::from_secs_f64(self.cpu_us_each)),
            bytes(self.peak_bytes),
            bytes(self.disk_bytes),
            Figure::Count(usize::try_from(self.failed).unwrap_or(usize::MAX)),
        ]
    }
}

/// One workload on all servers.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    workload: String,
    servers: Vec<(String, Vec<Round>)>,
}

impl Comparison {
    pub(super) fn new(workload: String, servers: impl Iterator<Item = String>) -> Self {
        Self { workload, servers: servers.map(|name| (name, Vec::new())).collect() }
    }

    pub(super) fn add(&mut self, place: usize, round: Round) {
        self.servers[place].1.push(round);
    }

    pub(super) fn workload(&self) -> &str {
        &self.workload
    }

    pub(super) fn report(&self) -> String {
        let mut report = Report::new(&COLUMNS);
        self.add_to(&mut report);
        let spread = self.spread().map(|(low, high)| {
            format!("\nthroughput, round by round: {low:.2} to {high:.2} times the other's")
        });
        format!("{report}{}\n", spread.unwrap_or_default())
    }

    pub(super) fn add_to(&self, report: &mut Report) {
        let rows = self.servers.iter().map(|(name, rounds)| (name.clone(), medians(rounds)));
        report.group(&self.workload, &rows.collect::<Vec<_>>());
    }

    /// Of the first server's throughput to the second's: smallest and largest of all rounds.
    fn spread(&self) -> Option<(f64, f64)> {
        let [(_, these), (_, others)] = &self.servers[..] else { return None };
        let ratios = these.iter().zip(others).map(|(this, other)| this.per_s / other.per_s);
        let (low, high) = ratios
            .fold((f64::INFINITY, 0.0f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
        (high > 0.0).then_some((low, high))
    }

    /// Of the first server to the second: throughput, and processor time for the same.
    pub(super) fn ratios(&self) -> Option<(f64, f64)> {
        let [(_, these), (_, others)] = &self.servers[..] else { return None };
        let (these, others) = (medians(these), medians(others));
        let ratio = |column: usize| these.get(column)?.ratio(others.get(column)?);
        Some((ratio(0)?, ratio(5)?))
    }
}

fn medians(rounds: &[Round]) -> Vec<Figure> {
    let column =
        |place: usize| median(rounds.iter().map(|it| it.figures()[place].clone()).collect());
    (0..COLUMNS.len()).filter_map(column).collect()
}

/// Everything, for other programs.
pub(super) fn json(comparisons: &[Comparison]) -> serde_json::Result<String> {
    serde_json::to_string_pretty(comparisons)
}
