//! Reaching the agent of a pod's node.

use std::time::Duration;

use api::etcdserverpb::RangeRequest;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::net::TcpStream;

use super::super::ApiServer;
use super::super::path::Target;
use super::super::status::{Failure, Result};
use crate::objects::notes::{self, AgentNote};
use crate::objects::{Error, Stored};

/// How long an agent may take to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Where an agent is, and what it wants to be shown.
pub(super) struct Agent(AgentNote);

/// A connection to an agent, for one request.
pub(super) type Sender = http1::SendRequest<Empty<Bytes>>;

impl ApiServer {
    /// The pod of a target, its container that is meant, and the agent it is with.
    pub(super) async fn find_agent(
        &self,
        target: &Target,
        container: Option<&str>,
    ) -> Result<(Stored<Pod>, String, Agent)> {
        let failed = |error: Error| Failure::of(error, target.resource, target.name());
        let pod = self.objects().get::<Pod>(target.namespace(), target.name()).await;
        let pod = pod.map_err(failed)?;
        let pod = pod.ok_or_else(|| Failure::not_found(target.resource, target.name()))?;
        let container = choose(&pod, container)?;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let Some(node) = node.filter(|node| !node.is_empty()) else {
            let message = format!("pod {} does not have a host assigned", target.name());
            return Err(Failure::bad_request(message));
        };
        let agent = self.agent_of(node).await.map_err(failed)?;
        let agent = agent.ok_or_else(|| {
            Failure::internal(format!("the agent of node \"{node}\" has not said where it is"))
        })?;
        Ok((pod, container, agent))
    }

    /// `None`: there is no such node, or its agent has not said where it is.
    async fn agent_of(&self, name: &str) -> std::result::Result<Option<Agent>, Error> {
        if self.objects().get::<Node>(None, name).await?.is_none() {
            return Ok(None);
        }
        // Not where the node's object says: whoever writes that must not be sent the token.
        let key = notes::agent(name).into();
        let found = self.objects().store().range(RangeRequest { key, ..Default::default() });
        let note = found.await?.kvs.into_iter().next();
        Ok(note.and_then(|kv| AgentNote::read(&kv.value)).map(Agent))
    }
}

impl Agent {
    /// # Errors
    /// It cannot be reached.
    pub(super) async fn connect(&self) -> Result<Sender> {
        let failed = |reason: String| {
            Failure::internal(format!(
                "the agent at {} cannot be reached: {reason}",
                self.0.address
            ))
        };
        let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(&self.0.address));
        let stream = connecting
            .await
            .map_err(|_| failed("it does not answer".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        // Lives as long as what is sent over it.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// A request to it.
    pub(super) fn request(&self, path: &str) -> http::request::Builder {
        http::Request::get(path)
            .header(http::header::HOST, &self.0.address)
            .header(http::header::AUTHORIZATION, format!("Bearer {}", self.0.token))
    }
}

/// The container that is named, or the one that is meant without a name.
fn choose(pod: &Stored<Pod>, named: Option<&str>) -> Result<String> {
    let spec = pod.spec.as_ref();
    let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let annotations = pod.metadata.annotations.as_ref();
    let default = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    match (named, main) {
        (Some(named), _) => {
            let mut all = main.iter().chain(init);
            if all.any(|container| container.name == named) {
                return Ok(named.to_owned());
            }
            Err(Failure::bad_request(format!("container {named} is not valid for pod {name}")))
        }
        (None, [one]) => Ok(one.name.clone()),
        (None, _) if default.is_some() => Ok(default.cloned().unwrap_or_default()),
        (None, many) => {
            let names: Vec<&str> = many.iter().map(|one| one.name.as_str()).collect();
            Err(Failure::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                names.join(" ")
            )))
        }
    }
}
