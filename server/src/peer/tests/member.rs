//! A member that notes what it gets, and does no more than the test has given it leave to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::berthpb::append_response::Outcome;
use api::berthpb::peer_response::Answer;
use api::berthpb::{
    AppendRequest, AppendResponse, IdentityAnswer, InstalledAnswer, PeerRequest, PeerResponse,
    SnapshotPiece,
};
use axum::Router;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use raft::peer::{Link, LinkError, Purpose, Receiver};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::super::{http, routes};
use super::{link_to, soon};
use crate::http::{Metrics, PeerMetrics};
use crate::serve::tls::Acceptor;

struct Member {
    /// Log ids of appends; nothing for a question.
    got: mpsc::UnboundedSender<Bytes>,
    /// One permit for each request of an append stream that is read.
    reads: Arc<Semaphore>,
    /// One permit for each answer, and for each piece of a snapshot.
    leave: Arc<Semaphore>,
    received_bytes: Arc<AtomicUsize>,
    over: CancellationToken,
}

impl Receiver for Member {
    fn call(&self, request: PeerRequest) -> BoxFuture<'static, PeerResponse> {
        let leave = self.leave.clone();
        let _ = self.got.send(Bytes::new());
        Box::pin(async move {
            leave.acquire().await.unwrap().forget();
            let cluster_id = request.envelope.unwrap().cluster_id;
            let identity = IdentityAnswer { cluster_id, ..Default::default() };
            PeerResponse { answer: Some(Answer::Identity(identity)) }
        })
    }

    fn append(
        &self,
        mut requests: BoxStream<'static, Result<AppendRequest, LinkError>>,
    ) -> BoxStream<'static, AppendResponse> {
        let (got, reads, leave) = (self.got.clone(), self.reads.clone(), self.leave.clone());
        let over = self.over.clone().drop_guard();
        let (taken, answers) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let _over = over;
            loop {
                reads.acquire().await.unwrap().forget();
                let Some(Ok(request)) = requests.next().await else { break };
                let _ = got.send(request.prev_log_id.clone());
                let _ = taken.send(request.prev_log_id);
            }
        });
        stream::unfold((answers, leave), async |(mut answers, leave)| {
            let id = answers.recv().await?;
            leave.acquire().await.unwrap().forget();
            let answer = AppendResponse { outcome: Some(Outcome::Matching(id)) };
            Some((answer, (answers, leave)))
        })
        .boxed()
    }

    fn snapshot(
        &self,
        mut pieces: BoxStream<'static, Result<SnapshotPiece, LinkError>>,
    ) -> BoxFuture<'static, PeerResponse> {
        let (leave, received) = (self.leave.clone(), self.received_bytes.clone());
        let over = self.over.clone().drop_guard();
        Box::pin(async move {
            let _over = over;
            while let Some(piece) = pieces.next().await {
                leave.acquire().await.unwrap().forget();
                received.fetch_add(piece.unwrap().data.len(), Ordering::SeqCst);
            }
            PeerResponse { answer: Some(Answer::Installed(InstalledAnswer::default())) }
        })
    }
}

/// A member that listens. Dropping it breaks all its connections, as the end of its process does.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    /// One permit for each answer, and for each piece of a snapshot.
    pub(super) leave: Arc<Semaphore>,
    /// One permit for each request of an append stream that is read; there are plenty.
    pub(super) reads: Arc<Semaphore>,
    /// Of snapshots.
    pub(super) received_bytes: Arc<AtomicUsize>,
    /// Cancelled when an append or snapshot stream has ended at the member.
    pub(super) over: CancellationToken,
    got: mpsc::UnboundedReceiver<Bytes>,
    _tasks: JoinSet<()>,
}

impl Listening {
    pub(super) async fn anywhere() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, Metrics::new(false).peers(2), None)
    }

    pub(super) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::on(listener, Metrics::new(false).peers(2), None)
    }

    pub(super) fn on(listener: TcpListener, metrics: PeerMetrics, tls: Option<Acceptor>) -> Self {
        let (noted, got) = mpsc::unbounded_channel();
        let leave = Arc::new(Semaphore::new(0));
        let reads = Arc::new(Semaphore::new(1000));
        let received_bytes = Arc::<AtomicUsize>::default();
        let over = CancellationToken::new();
        let member = Member {
            got: noted,
            reads: reads.clone(),
            leave: leave.clone(),
            received_bytes: received_bytes.clone(),
            over: over.clone(),
        };
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, routes(Arc::new(member), metrics), tls));
        Self { address, leave, reads, received_bytes, over, got, _tasks: tasks }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn link(&self, purpose: Purpose) -> Arc<dyn Link> {
        link_to(&[self.url()], purpose)
    }

    /// The next question or append that has arrived.
    pub(super) async fn next(&mut self) -> Bytes {
        soon(self.got.recv()).await.unwrap()
    }
}

pub(super) async fn serve(listener: TcpListener, routes: Router, tls: Option<Acceptor>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(routes.clone());
        let tls = tls.clone();
        connections.spawn(async move {
            let stream = match tls {
                None => Either::Left(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Either::Right(stream),
                    Err(_) => return,
                },
            };
            let _ = http().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
