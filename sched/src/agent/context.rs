//! What everything in the agent needs.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::{Mutex, Semaphore, watch};

use super::Settings;
use super::pod::plan::Lease;
use super::pod::status::Host;
use super::runtime::Runtime;
use crate::objects::events::Recorder;
use crate::objects::{Mirror, Objects};

pub(super) struct Context {
    pub(super) settings: Settings,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) objects: Objects,
    pub(super) services: Mirror<Service>,
    pub(super) slices: Mirror<EndpointSlice>,
    /// The revision of the slices that this node's proxy goes by.
    pub(super) served: watch::Receiver<i64>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) lease: watch::Receiver<Lease>,
    pub(super) host: Host,
    pub(super) machine: super::machine::Machine,
    /// Who answers pods for names of services; not there: nobody does, or not yet.
    pub(super) nameserver: OnceLock<IpAddr>,
    /// Containers that may be started at a time.
    pub(super) starts: Semaphore,
    /// Held while files of volumes are written: a change may come while a container is started.
    pub(super) volumes: Mutex<()>,
}

impl Context {
    /// Volumes and small files of a pod.
    pub(super) fn directory(&self, uid: &str) -> PathBuf {
        self.settings.root.join("volumes").join(uid)
    }
}
