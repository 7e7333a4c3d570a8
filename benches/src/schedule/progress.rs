//! How far the pods are, as a follower of the store sees it.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use sched::kv::follow::{Change, Follower, News};
use sched::objects::Objects;

use crate::figures::percentile;

/// Without any news for so long, the measurement gives up.
const SILENT_MAX: Duration = Duration::from_secs(60);

pub(super) struct Progress {
    follower: Follower,
    pods: HashMap<Vec<u8>, Seen>,
    bound: usize,
    running: usize,
    /// From when a pod was first seen until it ran.
    times: Vec<Duration>,
}

struct Seen {
    at: Instant,
    is_bound: bool,
    runs: bool,
}

impl Progress {
    pub(super) fn new(objects: &Objects) -> Self {
        let follower = Follower::new(objects.store().clone(), Objects::prefix::<Pod>(None));
        Self { follower, pods: HashMap::new(), bound: 0, running: 0, times: Vec::new() }
    }

    pub(super) async fn until_bound(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        while self.bound < count {
            self.step().await?;
        }
        Ok(())
    }

    pub(super) async fn until_running(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        while self.running < count {
            self.step().await?;
        }
        Ok(())
    }

    /// Those of the pods that were there before.
    pub(super) fn forget_times(&mut self) {
        self.times.clear();
    }

    pub(super) fn times(&mut self) -> String {
        let (p50, p99) = (percentile(&mut self.times, 50), percentile(&mut self.times, 99));
        format!("from creation to Running p50 {p50}, p99 {p99}")
    }

    async fn step(&mut self) -> Result<(), Box<dyn Error>> {
        let news = tokio::time::timeout(SILENT_MAX, self.follower.next()).await;
        let News::Changes(changes) = news.map_err(|_| "no pod gets any further")? else {
            return Ok(());
        };
        let now = Instant::now();
        for change in changes.list {
            let Change::Put(kv) = change else { continue };
            let seen = self.pods.entry(kv.key.to_vec());
            let seen = seen.or_insert(Seen { at: now, is_bound: false, runs: false });
            if !seen.is_bound && has(&kv.value, "\"nodeName\":\"") {
                seen.is_bound = true;
                self.bound += 1;
            }
            if !seen.runs && has(&kv.value, "\"phase\":\"Running\"") {
                seen.runs = true;
                self.running += 1;
                self.times.push(now - seen.at);
            }
        }
        Ok(())
    }
}

/// Without reading the whole document: this runs beside what is measured.
fn has(document: &[u8], field: &str) -> bool {
    std::str::from_utf8(document).is_ok_and(|document| document.contains(field))
}
