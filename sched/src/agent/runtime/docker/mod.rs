//! Containers of a Docker engine.
//!
//! The engine remembers everything: what a container is of, is said by its labels. A pod's network
//! is held by a pause container, whose image has nothing in it: the program itself and the
//! libraries it needs are the machine's, so the engine must be on this very machine. Nothing is
//! pulled for it.
//!
//! Start at [`Docker`]; `create.rs` says what the engine is asked for, `observe.rs` what it tells,
//! `containers.rs` finds, ends and removes what is ours, `exec.rs` runs commands, `guard.rs` sees to it
//! that containers end with the node's lease.

mod containers;
mod create;
mod exec;
pub mod guard;
mod observe;
mod pause;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error as EngineError;
use bollard::models::{EventMessageTypeEnum, Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, EventsOptionsBuilder, LogsOptionsBuilder,
};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::broadcast;

use self::containers::{Containers, DIES_MAX};
use self::guard::Guard;
use super::{
    CHANGES_WAITING_MAX, Cidr, ContainerSpec, Error, Exec, ExecSpec, Image, Kind, LogQuery,
    LogStream, PodRef, Result, Runtime, Sandbox, SandboxSpec, connections, error_while,
};
use crate::agent::images::Reference;

/// How long the engine may take to begin to answer.
const ANSWERS_S_MAX: u64 = 120;
/// Between two tries to follow the engine's events.
const RETRY: Duration = Duration::from_secs(1);
const NOT_FOUND: u16 = 404;
const CONFLICT: u16 = 409;
const NOT_MODIFIED: u16 = 304;

/// How to reach the engine, and what is ours in it.
#[derive(Clone, Debug)]
pub struct Settings {
    pub socket: PathBuf,
    /// The pods' network, and its bridge; whoever has another one has other pods.
    pub network: String,
    /// The program that pause containers and the guard run, which is this very one.
    pub program: PathBuf,
    /// What the guard goes by is there.
    pub directory: PathBuf,
}

/// The runtime.
pub struct Docker {
    engine: bollard::Docker,
    containers: Containers,
    settings: Settings,
    guard: Arc<Guard>,
    changes: broadcast::Sender<String>,
    events: tokio::task::JoinHandle<()>,
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.events.abort();
    }
}

impl Docker {
    /// Connects, and makes the image of pause containers. Must be called within a runtime.
    ///
    /// # Errors
    /// No engine answers there, or the directory cannot be written to.
    pub async fn connect(settings: Settings) -> Result<Self> {
        let engine = reach(&settings.socket).await?;
        pause::make_image(&engine).await?;
        let guard = Arc::new(Guard::new(settings.clone())?);
        let changes = broadcast::channel(CHANGES_WAITING_MAX).0;
        let events =
            tokio::spawn(follow(engine.clone(), settings.network.clone(), changes.clone()));
        let owner = settings.network.clone();
        let containers = Containers { engine: engine.clone(), owner };
        Ok(Self { engine, containers, settings, guard, changes, events })
    }
}

async fn reach(socket: &Path) -> Result<bollard::Docker> {
    let socket = socket.to_string_lossy();
    let failing = || error_while(format!("the Docker engine at {socket}"));
    let engine = bollard::Docker::connect_with_unix(&socket, ANSWERS_S_MAX, API_DEFAULT_VERSION);
    // Older engines speak less.
    engine.map_err(failing())?.negotiate_version().await.map_err(failing())
}

fn is(error: &EngineError, status: u16) -> bool {
    matches!(error, EngineError::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// The engine's own words.
fn message(error: EngineError) -> String {
    match error {
        EngineError::DockerResponseServerError { message, .. } => message,
        error => error.to_string(),
    }
}

/// Tells of every container of ours that starts or ends. Never returns.
async fn follow(engine: bollard::Docker, network: String, changes: broadcast::Sender<String>) {
    let filters = HashMap::from([
        ("type".to_owned(), vec![EventMessageTypeEnum::CONTAINER.to_string()]),
        ("event".to_owned(), ["start", "die", "destroy"].map(str::to_owned).into()),
        ("label".to_owned(), vec![format!("{}={network}", create::OWNER)]),
    ]);
    loop {
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        let mut events = engine.events(Some(options));
        while let Some(Ok(event)) = events.next().await {
            let labels = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
            if let Some(uid) = labels.get(create::UID) {
                // Nobody may listen.
                let _ = changes.send(uid.clone());
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[async_trait]
impl Runtime for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn version(&self) -> Result<String> {
        let version = self.engine.version().await.map_err(error_while("asking the engine"))?;
        Ok(version.version.unwrap_or_default())
    }

    async fn set_pod_cidr(&self, cidr: &Cidr, _: &Cidr) -> Result<()> {
        let name = &self.settings.network;
        let wanted = cidr.to_string();
        if let Ok(found) = self.engine.inspect_network(name, None).await {
            let configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            if configs.iter().any(|config| config.subnet.as_ref() == Some(&wanted)) {
                return Ok(());
            }
            // It cannot be while pods are in it.
            self.engine.remove_network(name).await.map_err(|error| {
                let error = message(error);
                Error::failed(format!("network {name} has other addresses than {wanted}: {error}"))
            })?;
        }
        let config = IpamConfig {
            subnet: Some(wanted),
            gateway: Some(cidr.gateway().to_string()),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
            options: Some(HashMap::from([(
                "com.docker.network.bridge.name".to_owned(),
                name.clone(),
            )])),
            ..NetworkCreateRequest::default()
        };
        let created = self.engine.create_network(request).await;
        created
            .map(drop)
            .map_err(|error| Error::failed(format!("network {name}: {}", message(error))))
    }

    async fn set_fence(&self, until: Duration) -> Result<()> {
        self.guard.set(until).await
    }

    async fn set_fenced(&self, uid: &str, is_fenced: bool) -> Result<()> {
        self.guard.mark(uid, is_fenced)
    }

    async fn pods(&self) -> Result<Vec<PodRef>> {
        let mut pods: Vec<PodRef> =
            self.containers.all().await?.iter().filter_map(create::pod_of).collect();
        pods.sort();
        pods.dedup();
        Ok(pods)
    }

    async fn observe(&self, uid: &str) -> Result<Option<Sandbox>> {
        let list = self.containers.of_pod(uid).await?;
        observe::sandbox(&self.engine, &self.settings.network, list).await
    }

    fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        Reference::from_str(reference).map_err(Error::invalid)?;
        match self.engine.inspect_image(reference).await {
            Ok(image) => Ok(Some(Image { id: image.id.unwrap_or_default() })),
            Err(error) if is(&error, NOT_FOUND) => Ok(None),
            Err(error) => Err(error_while(format!("image {reference}"))(message(error))),
        }
    }

    async fn pull(&self, reference: &str) -> Result<Image> {
        let name = Reference::from_str(reference).map_err(Error::invalid)?;
        let options = CreateImageOptionsBuilder::default().from_image(&name.to_string()).build();
        let mut progress = self.engine.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(|error| Error::no_image(format!("{name}: {}", message(error))))?;
        }
        let image = self.image(reference).await?;
        image.ok_or_else(|| Error::no_image(format!("{name} is not there after it was pulled")))
    }

    async fn start_sandbox(&self, spec: &SandboxSpec) -> Result<()> {
        let uid = &spec.pod.uid;
        if let Some(pause) = self.containers.pause_of(uid).await? {
            let sandbox = self.observe(uid).await?;
            if sandbox.is_some_and(|sandbox| sandbox.is_ready) {
                return Ok(());
            }
            self.containers.remove(&pause.id.unwrap_or_default(), true).await?;
        }
        let (name, body) = create::pause(spec, &self.settings);
        let id = self.containers.create(&name, body).await?;
        let started = self.engine.start_container(&id, None).await;
        started.map_err(|error| Error::failed(format!("the pause container: {}", message(error))))
    }

    async fn stop_sandbox(&self, uid: &str) -> Result<()> {
        match self.containers.pause_of(uid).await? {
            // It stays, so that there is something to look at.
            Some(pause) => {
                let id = pause.id.unwrap_or_default();
                self.containers.kill(&id, "KILL").await?;
                let _ = tokio::time::timeout(DIES_MAX, self.containers.ended(&id)).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn remove_pod(&self, uid: &str) -> Result<()> {
        let (pauses, others): (Vec<_>, Vec<_>) =
            self.containers.of_pod(uid).await?.into_iter().partition(create::is_pause);
        for container in others.into_iter().chain(pauses) {
            self.containers.remove(&container.id.unwrap_or_default(), true).await?;
        }
        self.guard.mark(uid, false)
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<String> {
        if self.image(&spec.image).await?.is_none() {
            return Err(Error::no_image(format!("the image {:?} is not on this node", spec.image)));
        }
        let pause = self.containers.pause_of(&spec.pod.uid).await?.and_then(|pause| pause.id);
        let pause = pause.ok_or_else(|| Error::failed("the pod's sandbox has ended"))?;
        let body = create::container(spec, &pause, &self.settings.network);
        let id = self.containers.create(&spec.engine_name(), body).await?;
        match self.engine.start_container(&id, None).await {
            Err(error) if !is(&error, NOT_MODIFIED) => Err(Error::failed(message(error))),
            _ => Ok(id),
        }
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        self.containers.stop(id, grace).await
    }

    async fn connections(&self, uid: &str) -> Result<Option<usize>> {
        let Some(id) = self.containers.pause_of(uid).await?.and_then(|pause| pause.id) else {
            return Ok(None);
        };
        match self.engine.inspect_container(&id, None).await {
            Ok(found) => Ok(observe::own_network(&found).and_then(connections::open)),
            Err(error) if is(&error, NOT_FOUND) => Ok(None),
            Err(error) => Err(error_while(format!("container {id}"))(message(error))),
        }
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.containers.remove(id, false).await
    }

    async fn exec(&self, id: &str, spec: ExecSpec) -> Result<Exec> {
        exec::start(&self.engine, id, spec).await
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Result<LogStream> {
        if let Err(error) = self.engine.inspect_container(id, None).await {
            let kind = if is(&error, NOT_FOUND) { Kind::NoSuchContainer } else { Kind::Failed };
            return Err(Error::new(kind, message(error)));
        }
        let tail = query.tail.map_or_else(|| "all".to_owned(), |count| count.to_string());
        let since = query.since.map_or(0, jiff::Timestamp::as_second);
        let options = LogsOptionsBuilder::default()
            .follow(query.follow)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(i32::try_from(since).unwrap_or(i32::MAX))
            .tail(&tail)
            .build();
        let lines = self.engine.logs(id, Some(options));
        Ok(lines
            .map(|line| line.map(|line| observe::log_line(&line)).map_err(error_while("the log")))
            .boxed())
    }
}

/// A tar archive with nothing in it.
fn empty_archive() -> Bytes {
    const END_BYTES: usize = 1024;
    Bytes::from_static(&[0; END_BYTES])
}

/// A directory of the machine that programs need, if it is there.
fn is_there(path: &&str) -> bool {
    Path::new(path).exists()
}
