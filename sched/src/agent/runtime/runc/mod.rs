//! Containers without a daemon: OCI bundles, run through `runc` or `crun`.
//!
//! Everything that is known of a pod is files below one root (`files.rs`), written by the agent
//! before and by a shim beside each container after; so whoever opens the root again finds all of
//! it. Nothing here must keep a container's life in memory.
//!
//! Start at [`Runc`]; `shim.rs` runs one container, `sandbox.rs` holds what a pod shares,
//! `network.rs` connects it.

mod bundle;
pub(crate) mod command;
mod exec;
mod files;
mod guard;
mod memory;
mod network;
mod sandbox;
pub mod shim;
mod user;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::sync::broadcast;

use self::bundle::Bundle;
use self::files::{ContainerDir, ContainerRecord, Ended, Root, Started};
use self::network::Network;
use super::fence::{self, Fence};
use super::process::Process;
use super::{
    CHANGES_WAITING_MAX, Cidr, Container, ContainerSpec, Error, Exec, ExecSpec, Exit, Image, Kind,
    LogQuery, LogStream, PodRef, Result, Runtime, Sandbox, SandboxSpec, State, connections,
    error_while, helper, logs,
};
use crate::agent::images::pull::Registries;
use crate::agent::images::{Images, Reference, Used};
use crate::agent::{clock, files as documents};

/// The exit code of a container that nobody saw end.
const UNSEEN: i32 = 255;
/// That of one which never ran, as shells count.
const NOT_STARTED: i32 = 128;
/// Between two looks whether a container runs that is being started.
const STARTS_LOOK: Duration = Duration::from_millis(20);
/// How long a killed container may take to be gone.
const DIES_MAX: Duration = Duration::from_secs(10);
/// OCI runtimes that are known to do, the one that most have first.
pub const PROGRAMS: [&str; 2] = ["runc", "crun"];

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Below it everything is kept.
    pub root: PathBuf,
    /// The OCI runtime, as [`find_program`] has it. Containers stay with the one that started them.
    pub program: PathBuf,
    /// The program that [`shim::run`] and [`shim::pause`] are reached by, with the arguments before
    /// `shim DIRECTORY` and `pause HOSTNAME`.
    pub helper: Vec<String>,
    pub bridge: String,
    pub registries: Registries,
}

/// The runtime.
pub struct Runc {
    root: Root,
    program: PathBuf,
    helper: Vec<String>,
    bridge: String,
    images: Images,
    /// Held while a container is written down, and while images that none is made of are removed.
    use_of_images: Arc<tokio::sync::Mutex<()>>,
    registries: Registries,
    fence: Arc<Fence>,
    network: Mutex<Option<Network>>,
    changes: broadcast::Sender<String>,
    /// Containers whose end somebody waits for.
    watched: Arc<Mutex<HashSet<String>>>,
}

impl Runc {
    /// Opens a root, with whatever containers it has.
    ///
    /// # Errors
    /// The root cannot be written to.
    pub fn open(settings: Settings) -> Result<Self> {
        let root = Root(settings.root);
        for directory in [root.pods(), root.state()] {
            std::fs::create_dir_all(&directory).map_err(error_while(directory.display()))?;
        }
        let images = Images::open(&root.images())?;
        let fence = Fence::new(root.fence());
        Ok(Self {
            root,
            program: settings.program,
            helper: settings.helper,
            bridge: settings.bridge,
            images,
            use_of_images: Arc::default(),
            registries: settings.registries,
            fence: Arc::new(fence),
            network: Mutex::new(None),
            changes: broadcast::channel(CHANGES_WAITING_MAX).0,
            watched: Arc::default(),
        })
    }

    fn directory(&self, id: &str) -> Result<ContainerDir> {
        let directory = self.root.container(id).filter(|directory| directory.path().exists());
        directory.ok_or_else(|| Error::no_container(id))
    }

    fn record(&self, id: &str) -> Result<(ContainerDir, ContainerRecord)> {
        let directory = self.directory(id)?;
        let record = documents::read_json(&directory.record());
        record.map(|record| (directory, record)).ok_or_else(|| Error::no_container(id))
    }

    fn find_image(&self, reference: &str) -> Result<crate::agent::images::Unpacked> {
        let name = Reference::from_str(reference).map_err(Error::invalid)?;
        self.images.find(&name)?.ok_or_else(|| missing(reference))
    }

    /// Writes the bundle and what the shim must know.
    fn prepare(&self, spec: &ContainerSpec) -> Result<(ContainerDir, ContainerRecord)> {
        let image = self.find_image(&spec.image)?;
        let sandbox = sandbox::read(&self.root, &spec.pod.uid)
            .filter(sandbox::is_ready)
            .ok_or_else(|| Error::failed("the pod's sandbox has ended"))?;
        let layers: Vec<PathBuf> =
            image.layers.iter().map(|name| self.images.layers().join(name)).collect();
        let user = user::resolve(&image.defaults.user, &spec.security, &layers)?;
        let pause = sandbox.pause.map(|pause| pause.pid);
        let bundle = Bundle { spec, image: &image.defaults, user: &user, pause };
        let config = bundle.config()?;
        let id = spec.key();
        let directory = self.root.container(&id).ok_or_else(|| Error::invalid("a bad name"))?;
        let record = ContainerRecord {
            spec: spec.clone(),
            image_id: image.id,
            created_at: clock::now(),
            program: self.program.clone(),
            state: self.root.state(),
            fence: self.root.fence(),
            id,
            layers: self.images.layers(),
            lower: image.layers,
            stop_signal: image.defaults.stop_signal,
        };
        if directory.shim_pid().exists() || directory.ended().exists() {
            return Err(Error::failed(format!("container {} was started before", record.id)));
        }
        // What an agent that ended in the middle of this has left.
        remove_directory(directory.path())?;
        std::fs::create_dir_all(directory.path()).map_err(error_while("making the bundle"))?;
        documents::write_json(&directory.config(), &config)
            .and_then(|()| documents::write_json(&directory.record(), &record))
            .map_err(error_while("writing the bundle"))?;
        Ok((directory, record))
    }

    /// Tells once the container has ended.
    fn watch(&self, uid: &str, directory: &ContainerDir) {
        let path = directory.path().to_string_lossy().into_owned();
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shim) = documents::read_json::<Process>(&directory.shim_pid()) else { return };
        if directory.ended().exists() || !watched.insert(path.clone()) {
            return;
        }
        let (watched, changes, uid) = (self.watched.clone(), self.changes.clone(), uid.to_owned());
        tokio::spawn(async move {
            // It writes down how the container ended before it ends itself.
            shim.ended().await;
            watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
            // Nobody may listen.
            let _ = changes.send(uid);
        });
    }

    fn observe_container(&self, directory: &ContainerDir) -> Option<Container> {
        let record: ContainerRecord = documents::read_json(&directory.record())?;
        self.watch(&record.spec.pod.uid, directory);
        Some(Container {
            id: record.id.clone(),
            name: record.spec.name.clone(),
            attempt: record.spec.attempt,
            streak: record.spec.streak,
            image: record.spec.image.clone(),
            image_id: record.image_id.clone(),
            state: state(directory, &record)?,
        })
    }
}

/// What the shim has written down, or what it means that it has not. `None`: it is not started yet,
/// and must look neither as if it ran nor as if it had ended.
fn state(directory: &ContainerDir, record: &ContainerRecord) -> Option<State> {
    let shim: Option<Process> = documents::read_json(&directory.shim_pid());
    let lives = shim.as_ref().map(Process::is_alive);
    let started: Option<Started> = documents::read_json(&directory.started());
    let started_at = started.as_ref().map_or(record.created_at, |started| started.at);
    // Asked after the shim: it writes this before it ends.
    let ended: Option<Ended> = documents::read_json(&directory.ended());
    match (ended, lives) {
        (Some(Ended { at, code, reason }), _) => {
            Some(State::Exited { code, started_at, finished_at: at, reason })
        }
        (None, None) => None,
        (None, Some(true)) => started.map(|_| State::Running { started_at }),
        (None, Some(false)) => {
            // What it held must not run on unseen.
            if let Some(started) = &started {
                started.init.signal(Signal::KILL);
            }
            let reason = "the process beside the container is gone, as after a restart of the node";
            let reason = Exit::Unknown(reason.into());
            Some(State::Exited { code: UNSEEN, started_at, finished_at: started_at, reason })
        }
    }
}

/// Whether a shim is about to run it.
fn is_being_started(directory: &ContainerDir) -> bool {
    let shim: Option<Process> = documents::read_json(&directory.shim_pid());
    shim.is_some_and(|shim| shim.is_alive())
        && !directory.started().exists()
        && !directory.ended().exists()
}

/// Waits for what an agent before has begun to start.
async fn settled(directory: &ContainerDir) -> Result<()> {
    let settling = async {
        while is_being_started(directory) {
            tokio::time::sleep(STARTS_LOOK).await;
        }
    };
    let place = directory.path().display();
    tokio::time::timeout(helper::STARTS_MAX, settling)
        .await
        .map_err(|_| Error::failed(format!("the container in {place} does not come to run")))
}

/// What the containers of all pods are made of.
fn used(root: &Root) -> Result<Used> {
    let mut used = Used::default();
    let pods = std::fs::read_dir(root.pods()).map_err(error_while("listing pods"))?;
    for pod in pods.flatten() {
        for path in sandbox::directories(root, &pod.file_name().to_string_lossy()) {
            let record: Option<ContainerRecord> =
                documents::read_json(&ContainerDir(path.clone()).record());
            // One that cannot be read may be made of anything.
            let record = record.ok_or_else(|| {
                Error::failed(format!("{} cannot be read; no image is removed", path.display()))
            })?;
            used.images.insert(record.image_id);
            used.layers.extend(record.lower);
        }
    }
    Ok(used)
}

fn missing(reference: &str) -> Error {
    Error::no_image(format!("the image {reference:?} is not on this node"))
}

/// The first of these programs that is in the path.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = || std::env::split_paths(&path);
    names.iter().find_map(|name| places().map(|place| place.join(name)).find(|file| file.is_file()))
}

#[async_trait]
impl Runtime for Runc {
    fn name(&self) -> &'static str {
        let name = self.program.file_name().unwrap_or_default();
        PROGRAMS.into_iter().find(|known| name == *known).unwrap_or(PROGRAMS[0])
    }

    async fn version(&self) -> Result<String> {
        let text = command::run(&self.program.to_string_lossy(), &["--version"]).await?;
        let first = text.lines().next().unwrap_or_default();
        Ok(first.rsplit(' ').next().unwrap_or_default().to_owned())
    }

    async fn set_pod_cidr(&self, cidr: &Cidr, all: &Cidr) -> Result<()> {
        let network = Network { bridge: self.bridge.clone(), cidr: *cidr, all: *all };
        network.ready().await?;
        *self.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(network);
        Ok(())
    }

    async fn set_fence(&self, until: Duration) -> Result<()> {
        self.fence.set(until).await
    }

    async fn set_fenced(&self, uid: &str, is_fenced: bool) -> Result<()> {
        fence::mark(&self.root.fenced(uid), is_fenced)
    }

    async fn pods(&self) -> Result<Vec<PodRef>> {
        let entries = std::fs::read_dir(self.root.pods()).map_err(error_while("listing pods"))?;
        let uids = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(uids.filter_map(|uid| Some(sandbox::read(&self.root, &uid)?.spec.pod)).collect())
    }

    async fn observe(&self, uid: &str) -> Result<Option<Sandbox>> {
        let Some(record) = sandbox::read(&self.root, uid) else { return Ok(None) };
        let directories = sandbox::directories(&self.root, uid);
        let mut containers: Vec<Container> = directories
            .into_iter()
            .filter_map(|path| self.observe_container(&ContainerDir(path)))
            .collect();
        containers.sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
        Ok(Some(Sandbox {
            is_ready: sandbox::is_ready(&record),
            address: record.address.map(Into::into),
            created_at: record.created_at,
            pod: record.spec.pod,
            containers,
        }))
    }

    fn changes(&self) -> broadcast::Receiver<String> {
        self.changes.subscribe()
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        match self.find_image(reference) {
            Ok(image) => Ok(Some(Image { id: image.id })),
            Err(error) if error.kind == Kind::NoSuchImage => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, reference: &str) -> Result<Image> {
        let name = Reference::from_str(reference).map_err(Error::invalid)?;
        let image = self.registries.pull(&self.images, &name).await?;
        Ok(Image { id: image.id })
    }

    async fn collect_images(&self) -> Result<Vec<String>> {
        let (root, images) = (self.root.clone(), self.images.clone());
        let use_of_images = self.use_of_images.clone();
        let collecting = tokio::task::spawn_blocking(move || {
            let _unused = use_of_images.blocking_lock();
            images.collect(&used(&root)?, clock::now())
        });
        collecting.await.map_err(error_while("removing images"))?
    }

    async fn start_sandbox(&self, spec: &SandboxSpec) -> Result<()> {
        let network = self.network.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sandbox::start(&self.root, network.as_ref(), &self.helper, spec).await
    }

    async fn stop_sandbox(&self, uid: &str) -> Result<()> {
        sandbox::stop(&self.root, uid).await
    }

    async fn remove_pod(&self, uid: &str) -> Result<()> {
        for path in sandbox::directories(&self.root, uid) {
            let directory = ContainerDir(path);
            if let Some(record) = documents::read_json::<ContainerRecord>(&directory.record()) {
                self.stop_container(&record.id, Duration::ZERO).await?;
                self.remove_container(&record.id).await?;
            }
        }
        sandbox::stop(&self.root, uid).await?;
        let _ = remove_groups(&format!("/berth/{uid}"));
        remove_directory(&self.root.pod(uid))
    }

    async fn start_container(&self, spec: &ContainerSpec) -> Result<String> {
        if let Ok((directory, record)) = self.record(&spec.key()) {
            settled(&directory).await?;
            if let Some(State::Running { .. }) = state(&directory, &record) {
                self.watch(&spec.pod.uid, &directory);
                return Ok(record.id);
            }
        }
        let (directory, record) = {
            // Removing images takes long, and must not hold up a worker.
            let _used = self.use_of_images.lock().await;
            self.prepare(spec)?
        };
        let mut shim = tokio::process::Command::new("unshare");
        let (program, args) =
            self.helper.split_first().ok_or_else(|| Error::failed("no helper"))?;
        shim.args(["--mount", "--propagation", "slave", "--", program]).args(args);
        shim.arg("shim").arg(directory.path());
        if let Err(error) = helper::started(shim, Stdio::null(), "the container").await {
            if directory.ended().exists() {
                return Err(error);
            }
            let reason = Exit::NotStarted(error.message.clone());
            let ended = Ended { at: clock::now(), code: NOT_STARTED, reason };
            documents::write_json(&directory.ended(), &ended)
                .map_err(error_while("writing how the container ended"))?;
            return Err(error);
        }
        self.watch(&spec.pod.uid, &directory);
        Ok(record.id)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let Ok((directory, record)) = self.record(id) else { return Ok(()) };
        settled(&directory).await?;
        let Some(started) = documents::read_json::<Started>(&directory.started()) else {
            return Ok(());
        };
        if !grace.is_zero() {
            started.init.signal(signal(record.stop_signal.as_deref()));
            if tokio::time::timeout(grace, started.shim.ended()).await.is_ok() {
                return Ok(());
            }
        }
        started.init.signal(Signal::KILL);
        tokio::time::timeout(DIES_MAX, started.shim.ended())
            .await
            .map_err(|_| Error::failed(format!("container {id} does not die")))
    }

    async fn connections(&self, uid: &str) -> Result<Option<usize>> {
        let pause = sandbox::read(&self.root, uid).and_then(|sandbox| sandbox.pause);
        Ok(pause.filter(Process::is_alive).and_then(|pause| connections::open(pause.pid)))
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let Ok((directory, record)) = self.record(id) else { return Ok(()) };
        settled(&directory).await?;
        if let Some(State::Running { .. }) = state(&directory, &record) {
            return Err(Error::failed(format!("container {id} still runs")));
        }
        // The shim has done this, unless it was killed.
        if record.state.join(&record.id).exists() {
            let state = record.state.to_string_lossy().into_owned();
            let args = ["--root", &state, "delete", "--force", &record.id];
            command::run(&record.program.to_string_lossy(), &args).await?;
        }
        remove_directory(directory.path())
    }

    async fn exec(&self, id: &str, spec: ExecSpec) -> Result<Exec> {
        let (directory, record) = self.record(id)?;
        if !matches!(state(&directory, &record), Some(State::Running { .. })) {
            return Err(Error::no_container(id));
        }
        exec::start(&directory, &record, &spec)
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Result<LogStream> {
        let (directory, record) = self.record(id)?;
        let log = directory.log();
        let is_running = move || !matches!(state(&directory, &record), Some(State::Exited { .. }));
        Ok(logs::read(&log, query, is_running))
    }
}

/// The image's wish, as `SIGTERM` or a number.
fn signal(wish: Option<&str>) -> Signal {
    match wish.map(|wish| wish.trim_start_matches("SIG")) {
        Some("INT" | "2") => Signal::INT,
        Some("QUIT" | "3") => Signal::QUIT,
        Some("HUP" | "1") => Signal::HUP,
        Some("USR1" | "10") => Signal::USR1,
        Some("USR2" | "12") => Signal::USR2,
        Some("KILL" | "9") => Signal::KILL,
        Some("WINCH" | "28") => Signal::WINCH,
        _ => Signal::TERM,
    }
}

fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error_while(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The pod's control groups, which are empty now.
fn remove_groups(group: &str) -> std::io::Result<()> {
    let group = group.trim_start_matches('/');
    let base = Path::new("/sys/fs/cgroup");
    let _ = std::fs::remove_dir(base.join(group));
    for hierarchy in std::fs::read_dir(base)?.flatten() {
        // Not every hierarchy has it.
        let _ = std::fs::remove_dir(hierarchy.path().join(group));
    }
    Ok(())
}
