//! Traces by OTLP, as a collector sees them.

use std::sync::Arc;

use api::etcdserverpb::{PutRequest, RangeRequest};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use testkit::{Kind, Server, bounded, eventually, subject};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What has been sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().await.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Its address.
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = TraceServiceServer::new(self.clone());
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(serving);
        address
    }

    /// All spans with the attributes of their resource.
    async fn spans(&self) -> Vec<(Vec<KeyValue>, Span)> {
        let sent = self.0.lock().await;
        let resources = sent.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|of| {
            let resource = of.resource.clone().unwrap_or_default().attributes;
            let spans = of.scope_spans.iter().flat_map(|scope| scope.spans.clone());
            spans.map(move |span| (resource.clone(), span)).collect::<Vec<_>>()
        });
        spans.collect()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|it| it.key == key).and_then(|it| it.value.clone());
    match found.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// Proves that calls become spans with names, outcomes and the resource that the flags name; that
/// the steps of a write and of a read stand beneath them, in their order; that a call within a trace of its caller's belongs to it, and is traced although nothing else is; and
/// that a server which was not told to trace sends nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_spans_of_their_callers_traces() {
    let program = subject!();
    if program.kind == Kind::Etcd {
        // Debian's is of a version without traces.
        return;
    }
    let (all, some) = (Collector::default(), Collector::default());
    let address = |address: String| format!("--experimental-distributed-tracing-address={address}");
    let on = "--experimental-enable-distributed-tracing";
    let (to_all, to_some) = (address(all.listen().await), address(some.listen().await));
    let traced = Server::start(
        program.clone(),
        &[
            on,
            &to_all,
            "--experimental-distributed-tracing-sampling-rate=1000000",
            "--experimental-distributed-tracing-service-name=store",
            "--experimental-distributed-tracing-instance-id=m1",
        ],
    )
    .await;
    let sampled = Server::start(program.clone(), &[on, &to_some]).await;
    let mut silent = Server::start(program, &[&to_some]).await;

    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for server in [&traced, &sampled, &silent] {
        let mut kv = server.clients().kv;
        let put = PutRequest { key: "k".into(), ..Default::default() };
        bounded(kv.put(put)).await.unwrap();
        let mut range = Request::new(RangeRequest { key: "k".into(), ..Default::default() });
        range.metadata_mut().insert("traceparent", parent.parse().unwrap());
        bounded(kv.range(range)).await.unwrap();
        let none = Request::new(RangeRequest::default());
        bounded(kv.range(none)).await.unwrap_err();
    }
    let (resource, refused) = eventually("the spans of a server that traces all", 60, async || {
        let spans = all.spans().await;
        let names: Vec<String> = spans.iter().map(|(_, span)| span.name.clone()).collect();
        let code = |code: &str| {
            let own = |it: &&(Vec<KeyValue>, Span)| {
                text(&it.1.attributes, "rpc.grpc.status_code") == code
            };
            spans.iter().find(own).cloned()
        };
        if !names.contains(&"etcdserverpb.KV/Put".to_owned()) {
            return Err(format!("{names:?}"));
        }
        code("3").ok_or_else(|| format!("no refusal among {names:?}"))
    })
    .await;
    let steps = eventually("the steps of a write", 60, async || {
        let spans = all.spans().await;
        let of = |name: &str| {
            let mut found = spans.iter().map(|(_, span)| span).filter(|span| span.name == name);
            found.next().cloned().ok_or_else(|| format!("no {name:?} among {} spans", spans.len()))
        };
        let names = ["etcdserverpb.KV/Put", "propose", "log write", "log sync", "apply"];
        names.into_iter().map(of).collect::<Result<Vec<Span>, String>>()
    })
    .await;
    let [call, propose, write, sync, apply] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!(propose.parent_span_id, call.span_id);
    for inner in [write, sync, apply] {
        assert_eq!(inner.parent_span_id, propose.span_id, "{}", inner.name);
        assert_eq!(inner.trace_id, call.trace_id, "{}", inner.name);
        assert!(inner.start_time_unix_nano >= call.start_time_unix_nano, "{}", inner.name);
        assert!(inner.end_time_unix_nano <= call.end_time_unix_nano, "{}", inner.name);
    }
    assert!(write.end_time_unix_nano <= sync.start_time_unix_nano);
    assert!(sync.end_time_unix_nano <= apply.start_time_unix_nano);
    assert_eq!(text(&resource, "service.name"), "store");
    assert_eq!(text(&resource, "service.instance.id"), "m1");
    assert_eq!(refused.name, "etcdserverpb.KV/Range");
    assert_eq!(text(&refused.attributes, "rpc.system"), "grpc");
    assert_eq!(text(&refused.attributes, "rpc.service"), "etcdserverpb.KV");
    assert_eq!(text(&refused.attributes, "rpc.method"), "Range");
    assert!(refused.end_time_unix_nano >= refused.start_time_unix_nano);

    eventually("the one span of a server that traces for its callers", 60, async || {
        let spans = some.spans().await;
        if spans.is_empty() { Err("none yet".to_owned()) } else { Ok(()) }
    })
    .await;
    // It ends in order: what was left has been sent by then.
    drop(sampled);
    silent.terminate();
    let spans = some.spans().await;
    let is_call = |it: &&(Vec<KeyValue>, Span)| it.1.kind == SpanKind::Server as i32;
    let calls: Vec<_> = spans.iter().filter(is_call).collect();
    assert_eq!(calls.len(), 1, "{spans:?}");
    let (resource, span) = calls[0];
    for (_, step) in spans.iter().filter(|it| !is_call(it)) {
        assert!(["read index", "range"].contains(&step.name.as_str()), "{}", step.name);
        assert_eq!(step.parent_span_id, span.span_id, "{}", step.name);
    }
    assert_eq!(spans.len(), 3, "the call and its two steps");
    assert_eq!(text(resource, "service.name"), "etcd");
    assert_eq!(span.name, "etcdserverpb.KV/Range");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&span.trace_id), &parent[3..35]);
    assert_eq!(hex(&span.parent_span_id), &parent[36..52]);
    assert_eq!(text(&span.attributes, "rpc.grpc.status_code"), "0");
}
