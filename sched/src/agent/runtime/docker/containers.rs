//! Our containers in an engine: found by their labels, made, ended, removed.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerSummary};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt;

use super::{CONFLICT, NOT_FOUND, create, is, message};
use crate::agent::runtime::{Error, Result, error_while};

/// How long a killed container may take to be gone.
pub(super) const DIES_MAX: Duration = Duration::from_secs(10);

/// Those of one owner.
#[derive(Clone, Debug)]
pub(super) struct Containers {
    pub(super) engine: bollard::Docker,
    pub(super) owner: String,
}

impl Containers {
    async fn list(&self, uid: Option<&str>, all: bool) -> Result<Vec<ContainerSummary>> {
        let mut labels = vec![format!("{}={}", create::OWNER, self.owner)];
        labels.extend(uid.map(|uid| format!("{}={uid}", create::UID)));
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(all).filters(&filters).build();
        self.engine.list_containers(Some(options)).await.map_err(error_while("listing containers"))
    }

    pub(super) async fn all(&self) -> Result<Vec<ContainerSummary>> {
        self.list(None, true).await
    }

    pub(super) async fn of_pod(&self, uid: &str) -> Result<Vec<ContainerSummary>> {
        self.list(Some(uid), true).await
    }

    pub(super) async fn running(&self) -> Result<Vec<ContainerSummary>> {
        self.list(None, false).await
    }

    pub(super) async fn pause_of(&self, uid: &str) -> Result<Option<ContainerSummary>> {
        let all = self.of_pod(uid).await?;
        Ok(all.into_iter().find(create::is_pause))
    }

    /// Creates one. Another of its name that never ran is in the way.
    pub(super) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String> {
        let options = || Some(CreateContainerOptionsBuilder::default().name(name).build());
        let created = match self.engine.create_container(options(), body.clone()).await {
            Err(error) if is(&error, CONFLICT) => {
                self.remove(name, false).await?;
                self.engine.create_container(options(), body).await
            }
            outcome => outcome,
        };
        match created {
            Ok(created) => Ok(created.id),
            Err(error) if is(&error, NOT_FOUND) => Err(Error::no_image(message(error))),
            Err(error) => Err(Error::invalid(message(error))),
        }
    }

    pub(super) async fn remove(&self, id: &str, force: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(force).v(true).build();
        match self.engine.remove_container(id, Some(options)).await {
            Err(error) if is(&error, NOT_FOUND) => Ok(()),
            // It is being removed already.
            Err(error) if force && is(&error, CONFLICT) => Ok(()),
            outcome => outcome.map_err(error_while(format!("removing container {id}"))),
        }
    }

    pub(super) async fn kill(&self, id: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.engine.kill_container(id, Some(options)).await {
            // It has ended.
            Err(error) if is(&error, NOT_FOUND) || is(&error, CONFLICT) => Ok(()),
            outcome => outcome.map_err(error_while(format!("stopping container {id}"))),
        }
    }

    /// Resolves when a container does not run.
    pub(super) async fn ended(&self, id: &str) {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = self.engine.wait_container(id, Some(options));
        // An exit code other than 0 comes as an error; so does that it is gone.
        while let Some(Ok(_)) = waiting.next().await {}
    }

    /// Asks a container to end, waits up to `grace`, kills it, and returns once it has ended.
    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<()> {
        if !grace.is_zero() {
            let wish = self.engine.inspect_container(id, None).await;
            let wish = wish.ok().and_then(|found| found.config?.stop_signal);
            self.kill(id, wish.as_deref().unwrap_or("SIGTERM")).await?;
            if tokio::time::timeout(grace, self.ended(id)).await.is_ok() {
                return Ok(());
            }
        }
        self.kill(id, "SIGKILL").await?;
        tokio::time::timeout(DIES_MAX, self.ended(id))
            .await
            .map_err(|_| Error::failed(format!("container {id} does not die")))
    }
}
