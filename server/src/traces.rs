//! Traces by OTLP: one span for each gRPC call, as etcd's `--enable-distributed-tracing` has them, and
//! beneath it one for each of its steps ([`crate::steps`]).
//!
//! A call that brings a `traceparent` becomes part of that trace. Nothing of this is there unless it
//! was asked for: then calls pass one more layer, and a thread of the exporter's sends the spans in
//! batches. A collector that is slow or gone costs spans, never a call.

use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span as _, SpanKind, Status as Outcome, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::config::TraceSettings;
use crate::steps::Steps;

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
        let mut call = Call::begin(&self.tracer, &request);
        // Routers call what is within them when they are polled.
        let answer = call.steps.clone().scope(self.inner.call(request));
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
    tracer: SdkTracer,
    steps: Steps,
    /// The same moment by both clocks: steps are counted by the one, spans by the other.
    began: (Instant, SystemTime),
}

impl Call {
    fn begin(tracer: &SdkTracer, request: &Request) -> Self {
        let (span, tracer) = (begin(tracer, request), tracer.clone());
        Self { span, tracer, steps: Steps::default(), began: (Instant::now(), SystemTime::now()) }
    }

    /// What was recorded of its steps, as spans beneath its own: those of a log entry beneath the
    /// proposal's.
    fn tell_steps(&self) {
        let beneath =
            |span: &Span| Context::new().with_remote_span_context(span.span_context().clone());
        let at = |moment: Instant| self.began.1 + moment.saturating_duration_since(self.began.0);
        let own = beneath(&self.span);
        let mut outer = own.clone();
        for step in self.steps.recorded() {
            let parent = if step.is_inner { &outer } else { &own };
            let builder = self.tracer.span_builder(step.name).with_start_time(at(step.began));
            let mut span = builder.start_with_context(&self.tracer, parent);
            if !step.is_inner {
                outer = beneath(&span);
            }
            span.end_with_timestamp(step.ended.map_or_else(SystemTime::now, at));
        }
    }

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

impl Drop for Call {
    fn drop(&mut self) {
        if self.span.span_context().is_sampled() {
            self.tell_steps();
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
