//! What runs containers, seen through one small trait.
//!
//! A runtime holds pods apart by their uid and remembers them by itself: whoever comes after an
//! agent that died finds every container where it was. It must never know the store, and never
//! decide anything: what starts, stops or is thrown away is said by the agent's planner.
//!
//! Start at [`Runtime`]. [`fake`] pretends, `runc` runs OCI bundles, `docker` asks an engine;
//! `contract.rs` is the one suite of tests that all three pass.

mod connections;
pub mod contract;
pub mod docker;
mod error;
pub mod fake;
pub(crate) mod fence;
mod helper;
pub mod logs;
mod process;
pub mod runc;
mod spec;

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc};

pub(crate) use error::while_doing as error_while;
pub use error::{Error, Kind, Result};
pub use logs::{LogLine, LogQuery};
pub use spec::{ContainerSpec, ExecSpec, Limits, Mount, PodRef, SandboxSpec, Security};

/// Pods whose change has not been looked at yet; who falls behind looks at all of them.
pub(super) const CHANGES_WAITING_MAX: usize = 1024;

/// Runs pods. Every call may be repeated: what is there already is no error, nor is what is gone
/// when it is to be removed. Calls are bounded in time; one that is dropped may have taken effect.
///
/// *To ensure correctness*, an implementation lists every container it ever started until it is
/// removed, never starts one by itself, and tells of a change after it can be observed.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Its name, as in `containerID: name://id`.
    fn name(&self) -> &'static str;

    /// Its version, for people.
    async fn version(&self) -> Result<String>;

    /// Whether its pods have real addresses.
    fn has_network(&self) -> bool {
        true
    }

    /// Whether its containers have files: what is mounted into them is there then.
    fn has_files(&self) -> bool {
        true
    }

    /// Readies the node's network: pods get addresses of the range `own` from now on; `all` is that
    /// of every node's pods.
    async fn set_pod_cidr(&self, own: &Cidr, all: &Cidr) -> Result<()>;

    /// Containers of fenced pods may run until then (since the machine booted), whatever becomes of
    /// the agent. Those of a runtime that goes with its agent need nobody to see to that.
    async fn set_fence(&self, _until: Duration) -> Result<()> {
        Ok(())
    }

    /// Whether a pod is fenced: others are told to start it when this node is lost. It is said before
    /// its first container is started.
    async fn set_fenced(&self, _uid: &str, _is_fenced: bool) -> Result<()> {
        Ok(())
    }

    /// The pods there are traces of.
    async fn pods(&self) -> Result<Vec<PodRef>>;

    /// What there is of one pod; `None`: nothing.
    async fn observe(&self, uid: &str) -> Result<Option<Sandbox>>;

    /// The uids of pods in which something may have changed.
    fn changes(&self) -> broadcast::Receiver<String>;

    /// An image that is here, by its reference; `None`: it must be pulled.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;

    /// Fetches an image from where its reference says.
    ///
    /// # Errors
    /// [`Kind::NoSuchImage`] when there is none, or the registry cannot be reached; the message
    /// says which.
    async fn pull(&self, reference: &str) -> Result<Image>;

    /// Removes images that nothing is made of and that can be fetched again, if the disk is nearly
    /// full; returns their names. A runtime whose engine does so by itself removes none.
    async fn collect_images(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Makes what the containers of a pod share, its network above all.
    async fn start_sandbox(&self, spec: &SandboxSpec) -> Result<()>;

    /// Ends what they share. What its containers left behind can still be looked at.
    async fn stop_sandbox(&self, uid: &str) -> Result<()>;

    /// Removes whatever is left of a pod, killing what still runs.
    async fn remove_pod(&self, uid: &str) -> Result<()>;

    /// Creates and starts a container in its pod's sandbox, and returns its id.
    async fn start_container(&self, spec: &ContainerSpec) -> Result<String>;

    /// Asks the container to end, waits up to `grace`, kills it, and returns once it has ended.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()>;

    /// How many connections others have open to what the pod listens on; `None`: it cannot be told
    /// from those of the node, or there is no such pod.
    async fn connections(&self, _uid: &str) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Removes a container that has ended, with its logs.
    async fn remove_container(&self, id: &str) -> Result<()>;

    /// Starts a further process in a running container.
    async fn exec(&self, id: &str, spec: ExecSpec) -> Result<Exec>;

    /// Its log, from the beginning or as the query says; with `follow` until the container ends.
    async fn logs(&self, id: &str, query: LogQuery) -> Result<LogStream>;
}

/// Lines of a log, in order.
pub type LogStream = BoxStream<'static, Result<LogLine>>;

/// A range of IPv4 addresses for pods. Invariant: `prefix` is 8 to 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub network: std::net::Ipv4Addr,
    pub prefix: u8,
}

impl Cidr {
    /// The address of the node itself in it.
    pub fn gateway(&self) -> std::net::Ipv4Addr {
        self.address(1)
    }

    /// The address at an offset from the network's own.
    pub fn address(&self, offset: u32) -> std::net::Ipv4Addr {
        (u32::from(self.network) + offset).into()
    }

    /// How many addresses it has, with the network's own and the broadcast one.
    pub fn size(&self) -> u32 {
        1 << (32 - u32::from(self.prefix))
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

impl std::str::FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let usage = || format!("{text:?} is not a range of IPv4 addresses as 10.244.0.0/16");
        let (network, prefix) = text.split_once('/').ok_or_else(usage)?;
        let network: std::net::Ipv4Addr = network.parse().map_err(|_| usage())?;
        let prefix: u8 = prefix.parse().map_err(|_| usage())?;
        if !(8..=30).contains(&prefix) {
            return Err(format!("{text:?}: the prefix must be 8 to 30"));
        }
        Ok(Self { network, prefix })
    }
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What it is, whatever it is called.
    pub id: String,
}

/// What there is of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    pub pod: PodRef,
    /// Whether containers can be started in it.
    pub is_ready: bool,
    /// `None`: it uses the node's.
    pub address: Option<IpAddr>,
    pub created_at: Timestamp,
    /// In the order they were started.
    pub containers: Vec<Container>,
}

/// A container that was started once.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// How many there were of this name before.
    pub attempt: u32,
    /// Failures in a row before this one was started; what the back-off counts.
    pub streak: u32,
    /// The image as the pod names it.
    pub image: String,
    pub image_id: String,
    pub state: State,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    Running { started_at: Timestamp },
    Exited { code: i32, started_at: Timestamp, finished_at: Timestamp, reason: Exit },
}

/// Why a container ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Exit {
    /// By itself, or by a signal.
    Ended,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It never came to run; why.
    NotStarted(String),
    /// Nobody saw it end; why.
    Unknown(String),
}

/// A process in a container.
pub struct Exec {
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// With a terminal, all output.
    pub stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    pub stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Columns and rows, if it has a terminal.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Its exit code. Dropping it ends the process as soon as may be.
    pub exit: futures::future::BoxFuture<'static, Result<i32>>,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Exec").finish_non_exhaustive()
    }
}

impl Exec {
    /// All that it says, stdout before stderr, up to `bytes_max` of each, and its exit code.
    ///
    /// # Errors
    /// It cannot be told how it ended.
    pub async fn collect(self, bytes_max: u64) -> Result<(Bytes, i32)> {
        let (said, complained, code) = tokio::join!(
            read_all(self.stdout, bytes_max),
            read_all(self.stderr, bytes_max),
            self.exit
        );
        let mut output = said;
        output.extend(complained);
        Ok((output.into(), code?))
    }
}

async fn read_all(stream: Option<Pin<Box<dyn AsyncRead + Send>>>, bytes_max: u64) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read until it broke off is what there is.
        let _ = (&mut stream).take(bytes_max).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    bytes
}
