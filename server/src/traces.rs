//! Traces by OTLP: one span for each gRPC call, as etcd's `--enable-distributed-tracing` has them.
//!
//! A call that brings a `traceparent` becomes part of that trace. Nothing of this is there unless it
//! was asked for: then calls pass one more layer, and a thread of the exporter's sends the spans in
//! batches. A collector that is slow or gone costs spans, never a call.

use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanKind, Status as Outcome, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::config::TraceSettings;

/// The collector has so long to take what is left at the end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
const PER_MILLION: f64 = 1_000_000.0;

/// Where spans go. Clones are one.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Must be called within a runtime, on which spans are sent. Connects when there are any.
    ///
    /// # Errors
    /// The address cannot be one.
    pub fn open(settings: &TraceSettings) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(format!("http://{}", settings.address))
            .build()
            .map_err(|error| format!("--distributed-tracing-address: {error}"))?;
        let id = (!settings.instance_id.is_empty())
            .then(|| KeyValue::new("service.instance.id", settings.instance_id.clone()));
        let resource = Resource::builder_empty()
            .with_service_name(settings.service_name.clone())
            .with_attributes(id)
            .build();
        let share = f64::from(settings.per_million) / PER_MILLION;
        let own = Box::new(Sampler::TraceIdRatioBased(share));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(own))
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What traces the services that it is put around.
    pub fn layer(&self) -> TraceLayer {
        TraceLayer { tracer: self.provider.tracer("berth") }
    }

    /// Sends what is left. Blocks.
    pub fn close(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_MAX) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

#[derive(Clone)]
pub struct TraceLayer {
    tracer: SdkTracer,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner, tracer: self.tracer.clone() }
    }
}

#[derive(Clone)]
pub struct Traced<S> {
    inner: S,
    tracer: SdkTracer,
}

impl<S> Service<Request> for Traced<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let mut call = Call { span: begin(&self.tracer, &request) };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            // An error without a message has its status in the headers.
            call.look(response.headers());
            Ok(response.map(|inner| Body::new(Watched { inner, call })))
        })
    }
}

fn begin(tracer: &SdkTracer, request: &Request) -> Span {
    let parent = TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &Headers(request.headers()));
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let (service, method) = name.split_once('/').unwrap_or(("", &name));
    let attributes = [
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", method.to_owned()),
    ];
    let span = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
    span.start_with_context(tracer, &parent)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// A call under way. Its span ends with it.
struct Call {
    span: Span,
}

impl Call {
    /// Takes note of how it ended, where that is said.
    fn look(&mut self, headers: &HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        let code = status.code();
        self.span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code as i32)));
        if is_fault(code) {
            self.span.set_status(Outcome::error(status.message().to_owned()));
        }
    }
}

/// Whether the server is to blame, as OpenTelemetry's conventions have it.
fn is_fault(code: Code) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}

/// The body of an answer, until it ends or is dropped.
struct Watched {
    inner: Body,
    call: Call,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.call.look(trailers);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
