use std::time::Duration;

use api::etcdserverpb::encoded_watch_server::WatchServer;
use api::etcdserverpb::watch_client::WatchClient;
use api::etcdserverpb::{WatchCancelRequest, WatchProgressRequest, WatchResponse};
use bytes::Bytes;
use store::{Entry, Event, EventBatch, EventKind, HistoryChunk, Revision};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use watch::Publisher;

use super::*;

/// How long a response may take before a test gives it up.
const PATIENCE: Duration = Duration::from_secs(20);

const NEGATIVE_START: &str = "etcdserver: mvcc: required revision has been compacted";

/// A store that stays at one revision and has no history.
struct Still;

impl watch::Source for Still {
    fn revision(&self) -> i64 {
        5
    }

    fn compact_revision(&self) -> i64 {
        3
    }

    fn history(
        &self,
        _from: i64,
        to: i64,
        _filter: &dyn Fn(&[u8]) -> bool,
        _bytes_max: usize,
    ) -> Result<HistoryChunk, store::Error> {
        Ok(HistoryChunk { events: Vec::new(), next: to + 1 })
    }

    fn key_value(
        &self,
        _: &Bytes,
        _: &Entry,
    ) -> Result<Option<api::mvccpb::KeyValue>, store::Error> {
        Ok(None)
    }
}

/// Lets nobody read the key `secret`, nor a stream open that needs a leader.
struct TestGate;

impl Gate for TestGate {
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        match metadata.get("hasleader") {
            Some(value) if value == "true" => Err(Status::unavailable("etcdserver: no leader")),
            _ => Ok(()),
        }
    }

    fn permit(&self, _: &MetadataMap, request: &WatchCreateRequest) -> Result<(), Status> {
        match request.key.as_ref() {
            b"secret" => Err(Status::permission_denied("etcdserver: permission denied")),
            _ => Ok(()),
        }
    }

    fn fill(&self, header: &mut ResponseHeader) {
        header.member_id = 77;
    }

    fn sent(&self, _: usize) {}
}

struct Served {
    requests: Option<mpsc::Sender<WatchRequest>>,
    responses: Streaming<WatchResponse>,
    publisher: Publisher,
    hub: Hub,
    client: WatchClient<tonic::transport::Channel>,
}

/// A server on a free port with one open stream to it.
async fn serve() -> Served {
    let (hub, publisher) = Hub::new(Still, watch::Options::default());
    tokio::spawn(hub.clone().run());
    let service = WatchServer::new(WatchService::new(hub.clone(), Arc::new(TestGate)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = tonic::transport::Endpoint::try_from(address).unwrap().connect().await.unwrap();
    let mut client = WatchClient::new(channel);
    let (requests, outgoing) = mpsc::channel(16);
    let responses = client.watch(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    Served { requests: Some(requests), responses, publisher, hub, client }
}

impl Served {
    async fn send(&self, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.as_ref().unwrap().send(request).await.unwrap();
    }

    async fn create(&self, request: WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request)).await;
    }

    async fn response(&mut self) -> Result<Option<WatchResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("no response")
    }

    async fn next(&mut self) -> WatchResponse {
        self.response().await.unwrap().expect("the stream ended")
    }
}

fn on(key: &'static str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.into(), ..Default::default() }
}

fn put(key: &'static str, revision: i64) -> Arc<EventBatch> {
    let kv = api::mvccpb::KeyValue {
        key: key.into(),
        value: "value".into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: 0,
    };
    let at = Revision { main: revision, sub: 0 };
    let event = Event { kind: EventKind::Put, kv, revision: at, prev: None };
    Arc::new(EventBatch { revision, events: vec![event] })
}

/// Proves that a plain etcd client reads what the encoded service sends, headers filled.
#[tokio::test]
async fn events_on_the_wire() {
    let mut served = serve().await;
    served.create(on("a")).await;
    let created = served.next().await;
    let header = created.header.unwrap();
    assert!(created.created && created.watch_id == 0);
    assert_eq!((header.revision, header.member_id), (5, 77));

    let batch = put("a", 6);
    served.publisher.publish(&[Arc::clone(&batch)]);
    let response = served.next().await;
    assert_eq!(response.header.unwrap().revision, 6);
    assert_eq!(response.events.len(), 1);
    assert_eq!(response.events[0].kv.as_ref(), Some(&batch.events[0].kv));

    served.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 0 })).await;
    let canceled = served.next().await;
    assert!(canceled.canceled && canceled.cancel_reason.is_empty());
}

/// Proves that refused watches are answered in etcd's words, and the stream goes on; so it does
/// after a request of no known kind.
#[tokio::test]
async fn refusals_leave_the_stream_alive() {
    let mut served = serve().await;
    served.requests.as_ref().unwrap().send(WatchRequest { request_union: None }).await.unwrap();
    let refused = [
        (WatchCreateRequest { start_revision: -1, ..on("secret") }, NEGATIVE_START),
        (on("secret"), "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
        (WatchCreateRequest { range_end: "a".into(), ..on("b") }, REASON_EMPTY_RANGE),
    ];
    for (request, reason) in refused {
        served.create(request).await;
        let response = served.next().await;
        assert!(response.created && response.canceled && response.watch_id == -1);
        assert_eq!(response.cancel_reason, reason);
        assert_eq!(response.header.unwrap().revision, 5);
    }
    for _ in 0..2 {
        served.create(WatchCreateRequest { watch_id: 9, ..on("a") }).await;
    }
    assert_eq!(served.next().await.watch_id, 9);
    assert_eq!(served.next().await.cancel_reason, REASON_DUPLICATE_ID);
    served.create(WatchCreateRequest { start_revision: 2, ..on("a") }).await;
    assert!(served.next().await.created);
    let compacted = served.next().await;
    assert!(compacted.canceled && compacted.compact_revision == 3);
    assert_eq!(compacted.header.unwrap().revision, 0);
    served.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    let progress = served.next().await;
    assert_eq!((progress.watch_id, progress.header.unwrap().revision), (-1, 5));
}

/// Proves that a client that closed its side keeps its watches, and that they end with it.
#[tokio::test]
async fn half_open_streams() {
    let mut served = serve().await;
    served.create(on("a")).await;
    assert!(served.next().await.created);
    served.requests = None;
    served.publisher.publish(&[put("a", 6)]);
    assert_eq!(served.next().await.events.len(), 1);

    let hub = served.hub.clone();
    drop(served);
    let gone = async {
        while hub.stats().streams > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the stream outlives its client");
}

/// Proves that streams end as etcd's do when it stops, and that a refused stream says why.
#[tokio::test]
async fn endings() {
    let mut served = serve().await;
    served.create(on("a")).await;
    assert!(served.next().await.created);
    served.hub.close();
    let status = served.response().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (tonic::Code::Unavailable, "etcdserver: server stopped")
    );

    let mut request = Request::new(tokio_stream::empty());
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    let status = served.client.watch(request).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: no leader");
}
