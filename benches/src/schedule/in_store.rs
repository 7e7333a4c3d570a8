//! The whole way: pods are created, placed, bound and run, in a store that runs in this process.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth::config::Invocation;
use futures::StreamExt;
use sched::kv::grpc::{Endpoint, GrpcKv};
use sched::kv::{Store, range};
use sched::objects::Objects;
use sched::scheduler::{Settings, run as run_scheduler};

use super::agents::Agents;
use super::per_second;
use super::progress::Progress;
use super::workloads::{Scale, Workload};
use crate::server::free_port;

/// Creations under way at a time.
const CREATING_MAX: usize = 64;
const READY_MAX: Duration = Duration::from_secs(60);

pub(super) async fn run(
    workload: Workload,
    scale: &Scale,
    with_agents: bool,
) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let url = start(directory.path()).await?;
    let objects = Objects::new(connect(&url)?);
    // Ended when it is dropped.
    let _agents = match with_agents {
        true => Some(Agents::start(workload, scale.nodes, &url, &objects).await?),
        false => None,
    };
    if !with_agents {
        create(&objects, (0..scale.nodes).map(|at| workload.node(at))).await?;
    }
    let mut progress = Progress::new(&objects);
    let scheduler = tokio::spawn(run_scheduler(objects.clone(), Settings::default()));
    let pods = |count: usize, measured: bool| (0..count).map(move |at| workload.pod(at, measured));
    create(&objects, pods(scale.before, false)).await?;
    progress.until_bound(scale.before).await?;
    if with_agents {
        progress.until_running(scale.before).await?;
    }
    progress.forget_times();

    let started = Instant::now();
    let creating = create(&objects, pods(scale.measured, true));
    let all = scale.before + scale.measured;
    let following = async {
        let bound = progress.until_bound(all).await.map(|()| started.elapsed());
        if with_agents && bound.is_ok() {
            progress.until_running(all).await?;
        }
        bound
    };
    let (created, bound) = tokio::join!(
        async { creating.await.map(|()| started.elapsed()).map_err(|error| error.to_string()) },
        async { following.await.map_err(|error| error.to_string()) },
    );
    let running = match with_agents {
        true => format!("; all Running after {:.1?}, {}", started.elapsed(), progress.times()),
        false => ", no agents".to_owned(),
    };
    println!(
        "{workload}, {}: with the store {:.0} pods/s placed ({:.0} pods/s created beside){running}",
        scale.text(),
        per_second(scale.measured, bound?),
        per_second(scale.measured, created?),
    );
    scheduler.abort();
    Ok(())
}

/// A server in this process, and where it is. It ends with the process: it has no other way out than a signal.
async fn start(directory: &Path) -> Result<String, Box<dyn Error>> {
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
    let store = connect(&client)?;
    let deadline = Instant::now() + READY_MAX;
    while let Err(error) = store.range(range(b"/registry/nodes/")).await {
        if Instant::now() > deadline {
            return Err(format!("the store does not answer: {error}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(client)
}

/// A connection of its own.
pub(super) fn connect(url: &str) -> Result<Store, Box<dyn Error>> {
    let target = tonic::transport::Endpoint::from_shared(url.to_owned())?;
    let endpoint = Endpoint::new(url.to_owned(), move || target.connect_lazy());
    Ok(Arc::new(GrpcKv::new(vec![endpoint], None)?))
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
