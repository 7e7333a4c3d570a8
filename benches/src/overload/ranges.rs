//! Clients that read everything, again and again.
//!
//! They throw away what comes, piece by piece: the measuring side would need more memory than the
//! measured one if it put the answers together.

use std::error::Error;
use std::future::poll_fn;
use std::time::Instant;

use api::etcdserverpb::RangeRequest;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, header};
use prost::Message;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::Channel;

use super::client::{Outcome, Target};
use crate::load;

const CLIENTS: usize = 32;
const DATA_BYTES: usize = 200 << 20;
const VALUE_BYTES: usize = 4 << 10;

pub(super) async fn apply(target: &Target) -> Result<Outcome, Box<dyn Error>> {
    let keys = target.share(DATA_BYTES) / VALUE_BYTES;
    let connections = target.connections(CLIENTS)?;
    if let Some(first) = connections.first() {
        load::fill(first.clone(), keys as u64, VALUE_BYTES).await?;
    }
    let end = Instant::now() + target.time;
    let mut clients = JoinSet::new();
    for channel in connections {
        clients.spawn(client(channel, end));
    }
    let (mut outcome, mut ranges, mut bytes) = (Outcome::default(), 0, 0);
    while let Some(client) = clients.join_next().await {
        let (its, count, taken) = client?;
        outcome.add(its);
        ranges += count;
        bytes += taken;
    }
    outcome.reached = format!("{ranges} ranges, {} MiB by {CLIENTS} clients", bytes >> 20);
    Ok(outcome)
}

/// Whole answers until `end`, and the bytes of all.
async fn client(mut channel: Channel, end: Instant) -> (Outcome, usize, usize) {
    let (mut outcome, mut ranges, mut bytes) = (Outcome::default(), 0, 0);
    while Instant::now() < end {
        let answer = everything(&mut channel, end, &mut bytes).await;
        ranges += usize::from(outcome.take(answer) == Some(true));
    }
    (outcome, ranges, bytes)
}

/// True: the answer came to its end before `end`.
async fn everything(
    channel: &mut Channel,
    end: Instant,
    bytes: &mut usize,
) -> Result<bool, Status> {
    let broken = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    poll_fn(|context| GrpcService::<Body>::poll_ready(channel, context)).await.map_err(broken)?;
    let response = channel.call(request()?).await.map_err(broken)?;
    refusal(response.headers())?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => *bytes += data.len(),
            Err(frame) => frame.trailers_ref().map_or(Ok(()), refusal)?,
        }
        if Instant::now() >= end {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refusal(headers: &hyper::HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => Err(status),
        _ => Ok(()),
    }
}

fn request() -> Result<Request<Body>, Status> {
    let zero = Bytes::from_static(&[0]);
    let range = RangeRequest { key: zero.clone(), range_end: zero, ..RangeRequest::default() };
    let message = range.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
    frame.put_slice(&message);
    Request::post("/etcdserverpb.KV/Range")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Body::new(Full::new(frame.freeze())))
        .map_err(|error| Status::internal(error.to_string()))
}
