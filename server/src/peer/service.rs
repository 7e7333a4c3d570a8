//! The other end: hands what other members send to `raft`.

use std::sync::Arc;

use api::berthpb::peer_server::{Peer, PeerServer};
use api::berthpb::{AppendRequest, AppendResponse, PeerRequest, PeerResponse, SnapshotPiece};
use axum::Router;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use raft::peer::{LinkError, Receiver};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::MESSAGE_BYTES_MAX;
use super::count::{self, Traffic};
use crate::http::{MemberCounters, PeerMetrics};

/// What a peer address serves for other members.
pub fn routes(receiver: Arc<dyn Receiver>, metrics: PeerMetrics) -> Router {
    let service = PeerServer::new(PeerService { receiver, metrics })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    tonic::service::Routes::new(service).into_axum_router().reset_fallback()
}

struct PeerService {
    receiver: Arc<dyn Receiver>,
    metrics: PeerMetrics,
}

#[async_trait]
impl Peer for PeerService {
    async fn call(&self, request: Request<PeerRequest>) -> Result<Response<PeerResponse>, Status> {
        let request = request.into_inner();
        let traffic = Traffic::default();
        traffic.learn(&self.metrics, request.envelope.as_ref());
        traffic.received(&request);
        let answer = self.receiver.call(request).await;
        traffic.sent(&answer);
        Ok(Response::new(answer))
    }

    type AppendStream = BoxStream<'static, Result<AppendResponse, Status>>;

    /// The headers of the answer go out at once: the sender waits for them before it counts the
    /// stream as open.
    async fn append(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let traffic = Traffic::default();
        let requests = {
            let (traffic, metrics) = (traffic.clone(), self.metrics.clone());
            request.into_inner().map(move |request| {
                if let Ok(request) = &request {
                    traffic.learn(&metrics, request.envelope.as_ref());
                    traffic.received(request);
                }
                request.map_err(|status| broken(&traffic, &status))
            })
        };
        let answers = self.receiver.append(requests.boxed());
        let answers = answers.map(move |answer| {
            traffic.sent(&answer);
            Ok(answer)
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPiece>>,
    ) -> Result<Response<PeerResponse>, Status> {
        let traffic = Traffic::default();
        let under_way = Arc::new(Mutex::new(None));
        let pieces = {
            let (traffic, metrics) = (traffic.clone(), self.metrics.clone());
            let under_way = under_way.clone();
            request.into_inner().map(move |piece| {
                if let Ok(piece) = &piece {
                    if let Some(start) = &piece.start {
                        traffic.learn(&metrics, start.envelope.as_ref());
                        *under_way.lock() =
                            traffic.counters().map(MemberCounters::receiving_snapshot);
                    }
                    traffic.received(piece);
                }
                piece.map_err(|status| broken(&traffic, &status))
            })
        };
        let answer = self.receiver.snapshot(pieces.boxed()).await;
        traffic.sent(&answer);
        count::snapshot_answered(under_way.lock().take(), &answer);
        Ok(Response::new(answer))
    }
}

fn broken(traffic: &Traffic, status: &Status) -> LinkError {
    traffic.receive_failed();
    LinkError::Interrupted(status.message().to_owned())
}
