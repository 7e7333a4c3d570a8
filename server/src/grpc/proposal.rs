//! From a request to the log and back.

use api::berthpb::command::Op;
use api::berthpb::{Command, Principal};
use prost::Message;
use store::Response;
use tonic::metadata::MetadataMap;

use super::Context;
use super::errors::Error;
use crate::steps;

impl Context {
    /// Proposes `op` for whoever sent `metadata` and waits until it is applied. What is wrong with
    /// the request itself is told first, as etcd does, to anybody.
    ///
    /// # Errors
    /// Those of [`Context::authenticate`] and of [`Context::propose`].
    pub(super) async fn submit(&self, metadata: &MetadataMap, op: Op) -> Result<Response, Error> {
        let mut command = Command { principal: None, origin: None, op: Some(op) };
        self.node().reader().check(&command)?;
        command.principal = self.authenticate(metadata)?;
        self.send(command).await
    }

    /// Proposes `op` for `principal` and waits until it is applied.
    ///
    /// # Errors
    /// [`Error::RequestTooLarge`], what the log could not do, or the state machine's refusal.
    pub(crate) async fn propose(
        &self,
        principal: Option<Principal>,
        op: Op,
    ) -> Result<Response, Error> {
        let command = Command { principal, origin: None, op: Some(op) };
        self.node().reader().check(&command)?;
        self.send(command).await
    }

    async fn send(&self, command: Command) -> Result<Response, Error> {
        if command.encoded_len() > self.request_bytes_max() {
            return Err(Error::RequestTooLarge);
        }
        let proposal = self.node().propose_followed(command, steps::trail());
        let applied = steps::step("propose", proposal).await?;
        Ok(applied.result?)
    }
}

/// Takes the answer out of `$response` that belongs to the command that was proposed.
macro_rules! answer {
    ($response:expr, $variant:ident) => {
        match $response {
            store::Response::$variant(answer) => answer,
            other => return Err($crate::grpc::proposal::mismatch(&other).into()),
        }
    };
}
pub(super) use answer;

/// The state machine answered something else than what was asked: a defect of ours.
pub(crate) fn mismatch(response: &Response) -> Error {
    // By kind alone: an answer may hold a token.
    let kind = std::mem::discriminant(response);
    tracing::error!(?kind, "the answer does not belong to the command");
    Error::Internal("the answer does not belong to the request".to_owned())
}
