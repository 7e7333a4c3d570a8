//! Members in one process, joined by memory; links can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::berthpb::{AppendRequest, PeerRequest, PeerResponse, SnapshotPiece};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;

use crate::peer::{Answers, Link, LinkError, Purpose, Receiver, Route, Transport};

/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct Switchboard {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    receivers: BTreeMap<u64, Arc<dyn Receiver>>,
    /// From, to.
    cut: BTreeSet<(u64, u64)>,
}

impl Switchboard {
    /// What member `from` reaches others by.
    pub(super) fn transport(&self, from: u64) -> Arc<dyn Transport> {
        Arc::new(Outlet { from, board: self.clone() })
    }

    pub(super) fn plug(&self, id: u64, receiver: Arc<dyn Receiver>) {
        self.state.lock().receivers.insert(id, receiver);
    }

    pub(super) fn unplug(&self, id: u64) {
        self.state.lock().receivers.remove(&id);
    }

    /// Nothing goes between the two any more, in either direction.
    pub(super) fn cut(&self, one: u64, two: u64) {
        self.state.lock().cut.extend([(one, two), (two, one)]);
    }

    pub(super) fn mend(&self) {
        self.state.lock().cut.clear();
    }

    fn reach(&self, from: u64, to: u64) -> Result<Arc<dyn Receiver>, LinkError> {
        let state = self.state.lock();
        let receiver = state.receivers.get(&to).filter(|_| !state.cut.contains(&(from, to)));
        receiver.cloned().ok_or_else(|| LinkError::Unreachable("cut".into()))
    }
}

struct Outlet {
    from: u64,
    board: Switchboard,
}

impl Transport for Outlet {
    fn link(&self, route: Route, _: Purpose) -> Arc<dyn Link> {
        let to = route.member_id().expect("members in tests are known by id");
        Arc::new(Wire { from: self.from, to, board: self.board.clone() })
    }
}

struct Wire {
    from: u64,
    to: u64,
    board: Switchboard,
}

impl Wire {
    fn reach(&self) -> Result<Arc<dyn Receiver>, LinkError> {
        self.board.reach(self.from, self.to)
    }
}

impl Link for Wire {
    fn call(
        &self,
        request: PeerRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        let receiver = self.reach();
        let (board, from, to) = (self.board.clone(), self.from, self.to);
        Box::pin(async move {
            let answered = tokio::time::timeout(timeout, receiver?.call(request)).await;
            let answer = answered.map_err(|_| LinkError::TimedOut)?;
            // The answer may not come back either.
            board.reach(to, from).map_err(|_| LinkError::Interrupted("cut".into()))?;
            Ok(answer)
        })
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Answers, LinkError>> {
        let receiver = self.reach();
        let (board, from, to) = (self.board.clone(), self.from, self.to);
        Box::pin(async move {
            let there = board.clone();
            let requests = requests.map(move |request| there.reach(from, to).map(|_| request));
            let answers = receiver?.append(requests.boxed());
            let answers: Answers =
                answers.map(move |answer| board.reach(to, from).map(|_| answer)).boxed();
            Ok(answers)
        })
    }

    fn snapshot(
        &self,
        pieces: BoxStream<'static, SnapshotPiece>,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        let receiver = self.reach();
        let (board, from, to) = (self.board.clone(), self.from, self.to);
        Box::pin(async move {
            let pieces = pieces.map(move |piece| board.reach(from, to).map(|_| piece));
            Ok(receiver?.snapshot(pieces.boxed()).await)
        })
    }
}
