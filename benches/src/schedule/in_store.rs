//! The whole way: pods are created, placed and bound in a store that runs in this process.

use std::collections::HashSet;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth::config::Invocation;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use sched::kv::follow::{Change, Follower, News};
use sched::kv::grpc::{Endpoint, GrpcKv};
use sched::kv::{Store, range};
use sched::objects::Objects;
use sched::scheduler::{Settings, run as run_scheduler};

use super::per_second;
use super::workloads::{Scale, Workload};
use crate::server::free_port;

/// Creations under way at a time.
const CREATING_MAX: usize = 64;
const READY_MAX: Duration = Duration::from_secs(60);
/// Without any binding for so long, the measurement gives up.
const SILENT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn run(workload: Workload, scale: &Scale) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let objects = Objects::new(start(directory.path()).await?);
    create(&objects, (0..scale.nodes).map(|at| workload.node(at))).await?;
    let mut bindings = Bindings::new(&objects);
    let scheduler = tokio::spawn(run_scheduler(objects.clone(), Settings::default()));
    let pods = |count: usize, measured: bool| (0..count).map(move |at| workload.pod(at, measured));
    create(&objects, pods(scale.before, false)).await?;
    bindings.until(scale.before).await?;

    let started = Instant::now();
    let creating = create(&objects, pods(scale.measured, true));
    let bound = bindings.until(scale.before + scale.measured);
    let (created, bound) = tokio::join!(
        async { creating.await.map(|()| started.elapsed()).map_err(|error| error.to_string()) },
        async { bound.await.map(|()| started.elapsed()).map_err(|error| error.to_string()) },
    );
    println!(
        "{workload}, {}: with the store {:.0} pods/s placed ({:.0} pods/s created beside)",
        scale.text(),
        per_second(scale.measured, bound?),
        per_second(scale.measured, created?),
    );
    scheduler.abort();
    Ok(())
}

/// A server in this process. It ends with the process: it has no other way out than a signal.
async fn start(directory: &Path) -> Result<Store, Box<dyn Error>> {
    let client = format!("http://127.0.0.1:{}", free_port()?);
    let peer = format!("http://127.0.0.1:{}", free_port()?);
    let arguments: Vec<OsString> = [
        format!("--data-dir={}", directory.join("data").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=error".to_owned(),
        "--quota-backend-bytes=8589934592".to_owned(),
    ]
    .map(OsString::from)
    .into();
    std::thread::spawn(|| berth::serve::run(arguments, Invocation::default()));
    let target = tonic::transport::Endpoint::from_shared(client.clone())?;
    let endpoint = Endpoint::new(client, move || target.connect_lazy());
    let store: Store = Arc::new(GrpcKv::new(vec![endpoint], None)?);
    let deadline = Instant::now() + READY_MAX;
    while let Err(error) = store.range(range(b"/registry/nodes/")).await {
        if Instant::now() > deadline {
            return Err(format!("the store does not answer: {error}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(store)
}

async fn create<T: sched::objects::Kind>(
    objects: &Objects,
    all: impl Iterator<Item = T>,
) -> Result<(), Box<dyn Error>> {
    let creating = all.map(|object| {
        let objects = objects.clone();
        async move { objects.create(&object).await.map(|_| ()) }
    });
    let mut creating = futures::stream::iter(creating).buffer_unordered(CREATING_MAX);
    while let Some(created) = creating.next().await {
        created?;
    }
    Ok(())
}

/// Who is bound, as a follower of the store sees it.
struct Bindings {
    follower: Follower,
    bound: HashSet<Vec<u8>>,
}

impl Bindings {
    fn new(objects: &Objects) -> Self {
        let follower = Follower::new(objects.store().clone(), Objects::prefix::<Pod>(None));
        Self { follower, bound: HashSet::new() }
    }

    async fn until(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        while self.bound.len() < count {
            let news = tokio::time::timeout(SILENT_MAX, self.follower.next()).await;
            let News::Changes(changes) = news.map_err(|_| "no pod is bound any more")? else {
                continue;
            };
            for change in changes.list {
                let Change::Put(kv) = change else { continue };
                if has_node(&kv.value) {
                    self.bound.insert(kv.key.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// Without reading the whole document: this runs beside what is measured.
fn has_node(document: &[u8]) -> bool {
    const FIELD: &[u8] = b"\"nodeName\":\"";
    document.windows(FIELD.len()).any(|part| part == FIELD)
}
