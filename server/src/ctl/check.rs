//! check perf and check datascale: loads of four sizes, judged in etcdctl's words.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest,
};
use bytes::Bytes;
use clap::{Args, Subcommand};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::Session;
use super::failure::{Failure, Outcome};
use super::range;

#[derive(Debug, Subcommand)]
pub(super) enum CheckVerb {
    /// Check the performance of the etcd cluster
    Perf(Perf),
    /// Check the memory usage of holding data for different workloads on a given server endpoint.
    Datascale(Datascale),
}

#[derive(Debug, Args)]
pub(super) struct Perf {
    #[command(flatten)]
    check: Check,
    /// The prefix for writing the performance check's keys.
    #[arg(long, default_value = "/etcdctl-check-perf/")]
    prefix: String,
    /// How long to write, in seconds (etcdctl always takes a minute)
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

#[derive(Debug, Args)]
pub(super) struct Datascale {
    #[command(flatten)]
    check: Check,
    /// The prefix for writing the datascale check's keys.
    #[arg(long, default_value = "/etcdctl-check-datascale/")]
    prefix: String,
}

#[derive(Debug, Args)]
struct Check {
    /// The check's workload model. Accepted workloads: s(small), m(medium), l(large), xl(xLarge)
    #[arg(long, default_value = "s")]
    load: String,
    /// Compact storage with last revision after test is finished.
    #[arg(long)]
    auto_compact: bool,
    /// Defragment storage after test is finished.
    #[arg(long)]
    auto_defrag: bool,
}

#[derive(Clone, Copy)]
enum Size {
    S,
    M,
    L,
    Xl,
}

impl Size {
    /// # Errors
    /// There is no such load.
    fn named(load: &str) -> Result<Size, Failure> {
        match load {
            "s" | "small" => Ok(Size::S),
            "m" | "medium" => Ok(Size::M),
            "l" | "large" => Ok(Size::L),
            "xl" | "xLarge" => Ok(Size::Xl),
            other => Err(Failure::bad_feature(format!("unknown load option {other}"))),
        }
    }

    fn clients(self) -> usize {
        [50, 200, 500, 1000][self as usize]
    }

    fn writes_per_s(self) -> u64 {
        [150, 1000, 8000, 15_000][self as usize]
    }

    fn pairs(self) -> u64 {
        [10_000, 100_000, 1_000_000, 3_000_000][self as usize]
    }
}

const PERF_KEY_BYTES: usize = 256;
/// Of keys and of values, where the scale of data is checked; of values elsewhere.
const PAIR_BYTES: usize = 1024;

/// A write may take so long.
const SLOWEST_S_MAX: f64 = 0.5;
const STDDEV_S_MAX: f64 = 0.1;
/// So much of the writes that were asked for have to come.
const SHARE_MIN: f64 = 0.9;

const CLEANUP_MAX: Duration = Duration::from_secs(30);

pub(super) async fn check(verb: CheckVerb, session: &Session) -> Outcome {
    match verb {
        CheckVerb::Perf(perf) => perf.run(session).await,
        CheckVerb::Datascale(datascale) => datascale.run(session).await,
    }
}

impl Perf {
    async fn run(self, session: &Session) -> Outcome {
        let size = Size::named(&self.check.load)?;
        refuse_keys(session, &self.prefix).await?;
        let per_s = size.writes_per_s();
        let load = Load {
            prefix: self.prefix.clone(),
            key_bytes: PERF_KEY_BYTES,
            writes: per_s * self.seconds,
            per_s: Some(per_s),
            ends: Some(Duration::from_secs(self.seconds)),
        };
        let seen = load.run(session, size.clients()).await?;
        self.check.clean_up(session, &self.prefix).await?;
        seen.judge(per_s)
    }
}

impl Datascale {
    async fn run(self, session: &Session) -> Outcome {
        let size = Size::named(&self.check.load)?;
        refuse_keys(session, &self.prefix).await?;
        let before = memory_bytes(session, "before").await?;
        println!(
            "Start data scale check for work load [{} key-value pairs, {PAIR_BYTES} bytes per \
             key-value, {} concurrent clients].",
            size.pairs(),
            size.clients()
        );
        let load = Load {
            prefix: self.prefix.clone(),
            key_bytes: PAIR_BYTES,
            writes: size.pairs(),
            per_s: None,
            ends: None,
        };
        let seen = load.run(session, size.clients()).await?;
        let after = memory_bytes(session, "after").await?;
        self.check.clean_up(session, &self.prefix).await?;
        seen.refuse_errors()?;
        let used_mib = (after - before) / f64::from(1 << 20);
        println!("PASS: Approximate system memory used : {used_mib:.2} MB.");
        Ok(())
    }
}

/// What others wrote under the prefix would be deleted at the end.
async fn refuse_keys(session: &Session, prefix: &str) -> Outcome {
    let (key, range_end) = range::prefix(Bytes::copy_from_slice(prefix.as_bytes()));
    let request = RangeRequest { key, range_end, limit: 1, ..RangeRequest::default() };
    let found = session.call(session.kv().await?.range(request)).await?;
    if found.kvs.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid_input(format!(
        "prefix \"{prefix}\" has keys. Delete with etcdctl del --prefix {prefix} first"
    )))
}

/// Writes of random keys, by many clients.
struct Load {
    prefix: String,
    key_bytes: usize,
    writes: u64,
    /// At most; `None`: as many as go.
    per_s: Option<u64>,
    /// No write begins after so long.
    ends: Option<Duration>,
}

impl Load {
    async fn run(self, session: &Session, clients: usize) -> Result<Seen, Failure> {
        let mut connections = Vec::with_capacity(clients);
        for _ in 0..clients {
            connections.push(session.kv().await?);
        }
        let (load, next, begun) = (Arc::new(self), Arc::new(AtomicU64::new(0)), Instant::now());
        let mut workers = JoinSet::new();
        for mut kv in connections {
            let (load, next) = (load.clone(), next.clone());
            workers.spawn(async move {
                let mut seen = Seen::default();
                while let Some(number) = load.turn(&next, begun).await {
                    let put = load.put(number);
                    let asked = Instant::now();
                    match kv.put(put).await {
                        Ok(_) => seen.seconds.push(asked.elapsed().as_secs_f64()),
                        Err(status) => seen.error(status.message()),
                    }
                }
                seen
            });
        }
        let mut all = Seen::default();
        let mut shown = Progress::default();
        while !workers.is_empty() {
            tokio::select! {
                seen = workers.join_next() => if let Some(Ok(seen)) = seen { all.add(seen) },
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    shown.show(next.load(Ordering::Relaxed).min(load.writes), load.writes);
                }
            }
        }
        shown.end();
        all.lasted = begun.elapsed();
        Ok(all)
    }

    /// Waits for the next write's time; `None`: there is none any more.
    async fn turn(&self, next: &AtomicU64, begun: Instant) -> Option<u64> {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= self.writes {
            return None;
        }
        if let Some(per_s) = self.per_s {
            sleep_until(begun + Duration::from_nanos(number * 1_000_000_000 / per_s)).await;
        }
        self.ends.is_none_or(|ends| begun.elapsed() < ends).then_some(number)
    }

    fn put(&self, number: u64) -> PutRequest {
        let mut key = self.prefix.clone().into_bytes();
        let prefix = key.len();
        // Spread over the prefix, and each once.
        key.extend_from_slice(
            &number.reverse_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(),
        );
        key.resize(prefix + self.key_bytes, 0);
        PutRequest { key: key.into(), value: vec![0; PAIR_BYTES].into(), ..PutRequest::default() }
    }
}

/// What came of the writes.
#[derive(Default)]
struct Seen {
    seconds: Vec<f64>,
    /// Each text, and how often.
    errors: Vec<(String, u64)>,
    lasted: Duration,
}

impl Seen {
    fn error(&mut self, text: &str) {
        self.add_error(text.to_owned(), 1);
    }

    fn add_error(&mut self, text: String, times: u64) {
        match self.errors.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += times,
            None => self.errors.push((text, times)),
        }
    }

    fn add(&mut self, other: Seen) {
        self.seconds.extend(other.seconds);
        for (text, times) in other.errors {
            self.add_error(text, times);
        }
    }

    fn print_errors(&self) -> bool {
        if self.errors.is_empty() {
            return true;
        }
        println!("FAIL: too many errors");
        for (text, times) in &self.errors {
            println!("FAIL: ERROR({text}) -> {times}");
        }
        false
    }

    fn refuse_errors(&self) -> Outcome {
        if self.print_errors() { Ok(()) } else { Err(Failure::silent()) }
    }

    fn judge(&self, asked_per_s: u64) -> Outcome {
        let mut verdict = Verdict { passed: self.print_errors() };
        let per_s = self.per_s();
        let shown = per_s.floor() + 1.0;
        verdict.say(
            per_s / as_f64(asked_per_s) > SHARE_MIN,
            format_args!("Throughput is {shown} writes/s"),
            format_args!("FAIL: Throughput too low: {shown} writes/s"),
        );
        let slowest = self.seconds.iter().copied().fold(0.0, f64::max);
        verdict.say(
            slowest <= SLOWEST_S_MAX,
            format_args!("Slowest request took {slowest:.6}s"),
            format_args!("Slowest request took too long: {slowest:.6}s"),
        );
        let stddev = self.stddev_s();
        verdict.say(
            stddev <= STDDEV_S_MAX,
            format_args!("Stddev is {stddev:.6}s"),
            format_args!("Stddev too high: {stddev:.6}s"),
        );
        println!("{}", if verdict.passed { "PASS" } else { "FAIL" });
        if verdict.passed { Ok(()) } else { Err(Failure::silent()) }
    }

    fn per_s(&self) -> f64 {
        as_f64(self.seconds.len() as u64) / self.lasted.as_secs_f64()
    }

    fn stddev_s(&self) -> f64 {
        if self.seconds.is_empty() {
            return 0.0;
        }
        let count = as_f64(self.seconds.len() as u64);
        let mean = self.seconds.iter().sum::<f64>() / count;
        let squares = self.seconds.iter().map(|seconds| (seconds - mean).powi(2));
        (squares.sum::<f64>() / count).sqrt()
    }
}

/// etcdctl's lines.
struct Verdict {
    passed: bool,
}

impl Verdict {
    fn say(&mut self, holds: bool, good: fmt::Arguments<'_>, bad: fmt::Arguments<'_>) {
        if holds {
            println!("PASS: {good}");
        } else {
            println!("{bad}");
            self.passed = false;
        }
    }
}

/// How far it is, for people who watch.
#[derive(Default)]
struct Progress {
    shown: bool,
}

impl Progress {
    fn show(&mut self, done: u64, of: u64) {
        let mut out = std::io::stderr();
        if out.is_terminal() {
            // Nobody misses it.
            let _ = write!(out, "\r{done} / {of}");
            self.shown = true;
        }
    }

    fn end(self) {
        if self.shown {
            eprintln!();
        }
    }
}

impl Check {
    /// Deletes what was written, and makes room.
    async fn clean_up(&self, session: &Session, prefix: &str) -> Outcome {
        let mut kv = session.kv().await?;
        let (key, range_end) = range::prefix(Bytes::copy_from_slice(prefix.as_bytes()));
        let request = DeleteRangeRequest { key, range_end, ..DeleteRangeRequest::default() };
        let deleted = match timeout(CLEANUP_MAX, kv.delete_range(request)).await {
            Ok(deleted) => deleted.map_err(|status| status.message().to_owned()),
            Err(_) => Err("context deadline exceeded".to_owned()),
        };
        match deleted {
            Ok(deleted) if self.auto_compact => {
                let header = deleted.into_inner().header.unwrap_or_default();
                let revision = header.revision;
                println!("Compacting with revision {revision}");
                kv.compact(CompactionRequest { revision, physical: true }).await?;
                println!("Compacted with revision {revision}");
            }
            Ok(_) => {}
            Err(error) => println!("FAIL: Cleanup failed during key deletion: ERROR({error})"),
        }
        if self.auto_defrag {
            for endpoint in session.each_endpoint(false).await? {
                println!("Defragmenting \"{endpoint}\"");
                let mut maintenance = session.maintenance_of(&endpoint).await?;
                maintenance.defragment(DefragmentRequest {}).await?;
                println!("Defragmented \"{endpoint}\"");
            }
        }
        Ok(())
    }
}

/// What the first endpoint's process takes, by its own metrics.
async fn memory_bytes(session: &Session, when: &str) -> Result<f64, Failure> {
    let endpoints = session.each_endpoint(false).await?;
    let endpoint = endpoints.first().map(String::as_str).unwrap_or_default();
    let page = session.page(endpoint, "/metrics").await.unwrap_or_default();
    let resident =
        page.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    resident.and_then(|number| number.trim().parse().ok()).ok_or_else(|| {
        println!("FAIL: Could not read process_resident_memory_bytes {when} the put operations.");
        Failure::silent()
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of writes are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves the measures: writes per second, and the deviation of all from their mean.
    #[test]
    fn measures_are_those_of_the_writes() {
        let lasted = Duration::from_secs(2);
        let seen = Seen { seconds: vec![0.1, 0.3, 0.1, 0.3], lasted, ..Seen::default() };
        assert!((seen.per_s() - 2.0).abs() < 1e-9);
        assert!((seen.stddev_s() - 0.1).abs() < 1e-9);
        assert!(Seen::default().stddev_s().abs() < 1e-9);
    }

    /// Proves that every write has a key of its own under the prefix, of the promised size.
    #[test]
    fn keys_are_many() {
        let load =
            Load { prefix: "/p/".into(), key_bytes: 256, writes: 1, per_s: None, ends: None };
        let keys: std::collections::BTreeSet<_> = (0..1000).map(|n| load.put(n).key).collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.starts_with(b"/p/") && key.len() == 259));
    }
}
