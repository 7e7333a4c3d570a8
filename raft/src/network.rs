//! The way to other members: there is none yet.
//!
//! A cluster of one never asks for it. Every call is answered with `Unreachable`, which is the
//! truth: no transport exists, and a pre-vote or a vote that nobody gave must not count.

use std::future::Future;

use openraft::anyerror::AnyError;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AsyncRuntime, OptionalSend};

use crate::snapshot::SnapshotFile;
use crate::types::{Peer, Types, Vote};

/// Makes clients that reach nobody.
pub(crate) struct NoNetwork;

/// A client that reaches nobody.
pub(crate) struct NoPeer {
    target: u64,
}

impl NoPeer {
    fn unreachable<R: AsyncRuntime>(&self) -> Unreachable<Types<R>> {
        let target = self.target;
        Unreachable::new(&AnyError::error(format!("no transport to member {target:x}")))
    }
}

impl<R: AsyncRuntime> RaftNetworkFactory<Types<R>> for NoNetwork {
    type Network = NoPeer;

    async fn new_client(&mut self, target: u64, _: &Peer) -> NoPeer {
        NoPeer { target }
    }
}

impl<R: AsyncRuntime> RaftNetworkV2<Types<R>> for NoPeer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Types<R>>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _: VoteRequest<Types<R>>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    // The trait's own answer would grant it.
    async fn pre_vote(
        &mut self,
        _: VoteRequest<Types<R>>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _: Vote,
        _: SnapshotOf<Types<R>, SnapshotFile>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}
