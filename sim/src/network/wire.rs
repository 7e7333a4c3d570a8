//! The network as one member sees it.

use std::sync::Arc;
use std::time::Duration;

use api::berthpb::{AppendRequest, AppendResponse, PeerRequest, PeerResponse, SnapshotPiece};
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use openraft_rt::{AsyncRuntime, Select2};
use raft::peer::{Answers, Link, LinkError, Purpose, Route, Transport};

use super::Network;
use super::pipe::{Inlet, Outlet as Outcome};
use crate::runtime::Simulated;

pub(super) struct Outlet {
    pub(super) from: u64,
    pub(super) network: Network,
}

impl Transport for Outlet {
    fn link(&self, route: Route, _: Purpose) -> Arc<dyn Link> {
        let to = route.member_id().expect("members are known by id here");
        Arc::new(Wire { from: self.from, to, network: self.network.clone() })
    }
}

struct Wire {
    from: u64,
    to: u64,
    network: Network,
}

/// Puts what comes into the pipe until it ends, or until nobody wants the other end any more.
async fn pump<T: Send>(
    mut items: BoxStream<'static, T>,
    inlet: Inlet<T>,
    mut given_up: oneshot::Receiver<()>,
) {
    loop {
        match Simulated::select2(&mut given_up, items.next()).await {
            Select2::First(_) => return,
            Select2::Second(None) => return inlet.end(),
            Select2::Second(Some(item)) => {
                if !inlet.put(item) {
                    return;
                }
            }
        }
    }
}

impl Wire {
    fn refused(&self) -> LinkError {
        LinkError::Unreachable(format!("member {} does not listen", self.to))
    }

    /// A pipe to the other member that is filled in this process from `items`, and what ends that
    /// when it is dropped.
    fn send_all<T: Send + 'static>(
        &self,
        items: BoxStream<'static, T>,
    ) -> (Outcome<T>, oneshot::Sender<()>) {
        let (inlet, outlet) = self.network.pipe(self.from, self.to);
        let (guard, given_up) = oneshot::channel();
        drop(Simulated::spawn(pump(items, inlet, given_up)));
        (outlet, guard)
    }
}

impl Link for Wire {
    fn call(
        &self,
        request: PeerRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        Box::pin(self.network.clone().call((self.from, self.to), request, timeout))
    }

    fn append(
        &self,
        requests: BoxStream<'static, AppendRequest>,
        _: Duration,
    ) -> BoxFuture<'static, Result<Answers, LinkError>> {
        let Some(plug) = self.network.member(self.to) else {
            let refused = self.refused();
            return Box::pin(async move { Err(refused) });
        };
        let (there, guard) = self.send_all(requests);
        let (inlet, mut back) = self.network.pipe::<AppendResponse>(self.to, self.from);
        back.guard = Some(guard);
        let receiver = plug.receiver.clone();
        drop(plug.process.spawn(async move {
            let answers = receiver.append(there.boxed());
            let (_open, never) = oneshot::channel();
            pump(answers, inlet, never).await;
        }));
        Box::pin(async move { Ok(back.boxed()) })
    }

    fn snapshot(
        &self,
        pieces: BoxStream<'static, SnapshotPiece>,
    ) -> BoxFuture<'static, Result<PeerResponse, LinkError>> {
        let Some(plug) = self.network.member(self.to) else {
            let refused = self.refused();
            return Box::pin(async move { Err(refused) });
        };
        let (there, guard) = self.send_all(pieces);
        let (inlet, mut back) = self.network.pipe::<PeerResponse>(self.to, self.from);
        let receiver = plug.receiver.clone();
        drop(plug.process.spawn(async move {
            let answer = receiver.snapshot(there.boxed()).await;
            inlet.put(answer);
            inlet.end();
        }));
        Box::pin(async move {
            let _guard = guard;
            match back.next().await {
                Some(answer) => answer,
                None => Err(LinkError::Interrupted("no answer".to_owned())),
            }
        })
    }
}
