//! Parts of objects that are served by themselves.
//!
//! `scale`, `binding` and `eviction` change the store; `log` and `exec` are passed on to the agent
//! of the pod's node.

mod agent;
mod binding;
mod eviction;
mod exec;
mod log;
mod scale;
mod streams;

use http::{Method, Response};

use super::path::Target;
use super::status::{Failure, Result};
use super::verbs::Scope;
use super::{ApiServer, Body, Call, discovery};

impl ApiServer {
    pub(super) async fn part(
        &self,
        method: &Method,
        target: Target,
        call: Call,
    ) -> Result<Response<Body>> {
        let part = target.subresource.clone().unwrap_or_default();
        match (target.resource.plural, part.as_str(), method) {
            (_, "status", _) if discovery::has_status(target.resource) => {
                self.status_of(method, &target, &call).await
            }
            ("namespaces", "finalize", &Method::PUT) => {
                self.update(&target, &call, Scope::Main).await
            }
            ("deployments" | "replicasets" | "replicationcontrollers", "scale", _) => {
                self.scale(method, &target, &call).await
            }
            ("pods", "binding", &Method::POST) => self.bind(&target, &call).await,
            ("pods", "eviction", &Method::POST) => self.evict(&target, &call).await,
            ("pods", "log", &Method::GET) => self.log(&target, &call).await,
            ("pods", "exec", &Method::GET | &Method::POST) => {
                let message = "exec is a stream: ask for an upgrade to a WebSocket or to SPDY/3.1";
                Err(Failure::bad_request(message))
            }
            ("pods", "binding" | "eviction" | "log", _) => Err(Failure::method_not_allowed()),
            _ => Err(Failure::unknown_path()),
        }
    }

    async fn status_of(
        &self,
        method: &Method,
        target: &Target,
        call: &Call,
    ) -> Result<Response<Body>> {
        match *method {
            Method::GET => self.get(target, call).await,
            Method::PUT => self.update(target, call, Scope::Status).await,
            Method::PATCH => self.patch(target, call, Scope::Status).await,
            _ => Err(Failure::method_not_allowed()),
        }
    }
}
