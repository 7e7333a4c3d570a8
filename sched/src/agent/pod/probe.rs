//! Probes: asking a container again and again whether it has started, lives, and is ready.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::hook::Target;
use super::memory::Probed;
use crate::agent::clock;
use crate::discovery::checks::Check;

/// What was found out, of the container with this id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) id: String,
    pub(super) probed: Probed,
    /// An answer that was wrong, for an event.
    pub(super) complaint: Option<String>,
}

/// Asks one container, until dropped.
pub(super) struct Prober(JoinHandle<()>);

impl Drop for Prober {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether there is anything to ask.
pub(super) fn is_wanted(target: &Target) -> bool {
    let container = &target.container;
    container.startup_probe.is_some()
        || container.readiness_probe.is_some()
        || container.liveness_probe.is_some()
}

/// `before`: what was known of it, by an agent that went.
pub(super) fn start(
    target: Target,
    started_at: Timestamp,
    before: Probed,
    findings: mpsc::Sender<Finding>,
) -> Prober {
    let asking = Asking { target, started_at, probed: before, findings };
    Prober(tokio::spawn(asking.run()))
}

struct Asking {
    target: Target,
    started_at: Timestamp,
    probed: Probed,
    findings: mpsc::Sender<Finding>,
}

/// What one probe's answers have come to.
#[derive(Debug)]
struct Row {
    wanted: i32,
    unwanted: i32,
    /// In a row; positive: good ones.
    count: i32,
}

impl Row {
    fn new(probe: &Probe) -> Self {
        Self {
            wanted: probe.success_threshold.unwrap_or(1).max(1),
            unwanted: probe.failure_threshold.unwrap_or(3).max(1),
            count: 0,
        }
    }

    /// Takes an answer; `None`: not decided by it.
    fn take(&mut self, good: bool) -> Option<bool> {
        self.count = match (good, self.count > 0) {
            (true, true) => self.count.saturating_add(1),
            (true, false) => 1,
            (false, true) => -1,
            (false, false) => self.count.saturating_sub(1),
        };
        match good {
            true => (self.count >= self.wanted).then_some(true),
            false => (-self.count >= self.unwanted).then_some(false),
        }
    }
}

fn seconds(given: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(given.and_then(|given| u64::try_from(given).ok()).unwrap_or(default))
}

impl Asking {
    async fn run(mut self) {
        let container = self.target.container.clone();
        let startup = container.startup_probe.filter(|_| !self.probed.has_started);
        if let Some(probe) = startup
            && !self.start_up(&probe).await
        {
            return;
        }
        self.probed.has_started = true;
        self.tell(None).await;
        let (ready, live) = (container.readiness_probe, container.liveness_probe);
        let (mut next_ready, mut next_live) =
            (self.first(ready.as_ref()), self.first(live.as_ref()));
        let mut ready_row = ready.as_ref().map(Row::new);
        let mut live_row = live.as_ref().map(Row::new);
        loop {
            tokio::select! {
                () = pause(next_ready) => {
                    let (Some(probe), Some(row)) = (&ready, &mut ready_row) else { return };
                    let answer = ask(&self.target, probe).await;
                    next_ready = Some(period(probe));
                    let decided = row.take(answer.is_ok());
                    let is_ready = decided.unwrap_or(self.probed.is_ready);
                    let complaint = answer.err().map(|error| format!("Readiness probe failed: {error}"));
                    if is_ready != self.probed.is_ready || complaint.is_some() {
                        self.probed.is_ready = is_ready;
                        self.tell(complaint).await;
                    }
                }
                () = pause(next_live) => {
                    let (Some(probe), Some(row)) = (&live, &mut live_row) else { return };
                    let answer = ask(&self.target, probe).await;
                    next_live = Some(period(probe));
                    let decided = row.take(answer.is_ok());
                    let Err(error) = answer else { continue };
                    let complaint = format!("Liveness probe failed: {error}");
                    if decided == Some(false) {
                        self.probed.sick = Some("failed liveness probe".into());
                        self.tell(Some(complaint)).await;
                        return;
                    }
                    self.tell(Some(complaint)).await;
                }
            }
        }
    }

    /// Whether it has started in the end.
    async fn start_up(&mut self, probe: &Probe) -> bool {
        let mut row = Row::new(probe);
        pause(self.first(Some(probe))).await;
        loop {
            let answer = ask(&self.target, probe).await;
            match row.take(answer.is_ok()) {
                Some(true) => return true,
                Some(false) => {
                    self.probed.sick = Some("failed startup probe".into());
                    let error = answer.err().unwrap_or_default();
                    self.tell(Some(format!("Startup probe failed: {error}"))).await;
                    return false;
                }
                None => {}
            }
            if let Err(error) = answer {
                self.tell(Some(format!("Startup probe failed: {error}"))).await;
            }
            tokio::time::sleep(seconds(probe.period_seconds, 10)).await;
        }
    }

    /// When to ask first: the delay counts from the container's start, whoever started it.
    fn first(&self, probe: Option<&Probe>) -> Option<tokio::time::Instant> {
        let delay = seconds(probe?.initial_delay_seconds, 0);
        let runs = clock::now().duration_since(self.started_at);
        let runs = Duration::try_from(runs).unwrap_or_default();
        Some(tokio::time::Instant::now() + delay.saturating_sub(runs))
    }

    async fn tell(&self, complaint: Option<String>) {
        let id = self.target.id.clone();
        let finding = Finding { id, probed: self.probed.clone(), complaint };
        // The worker has gone: so will this.
        let _ = self.findings.send(finding).await;
    }
}

fn period(probe: &Probe) -> tokio::time::Instant {
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    tokio::time::Instant::now() + period
}

async fn pause(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn ask(target: &Target, probe: &Probe) -> Result<(), String> {
    let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    let asking = async {
        if let Some(exec) = &probe.exec {
            return target.exec(exec).await;
        }
        if let Some(get) = &probe.http_get {
            return target.get(get).await;
        }
        if let Some(tcp) = &probe.tcp_socket {
            return target.connect(tcp).await;
        }
        let Some(grpc) = probe.grpc.as_ref().filter(|_| !target.is_pretended()) else {
            return Ok(());
        };
        let endpoint = format!("{}:{}", target.address, grpc.port);
        let service = grpc.service.clone().unwrap_or_default();
        Check::Grpc { endpoint, service }.ask(timeout).await
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer in {} s", timeout.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_a_row_decide() {
        // Proves both thresholds, and that one answer of the other kind starts the row anew.
        let probe =
            Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut row = Row::new(&probe);
        let answers = [true, true, false, false, true, false, false, false, true];
        let decided: Vec<_> = answers.into_iter().map(|good| row.take(good)).collect();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(decided, [None, yes, None, None, None, None, None, no, None]);
    }
}
