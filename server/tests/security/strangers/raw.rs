//! Calls of any method, as bytes.

use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, Bytes};
use testkit::bounded;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// One RPC of a service.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    /// `/package.Service/Method`.
    pub(crate) path: String,
    /// It may go on after its first answer for as long as the client likes.
    pub(crate) goes_on: bool,
}

/// The services of the package `package` in the `.proto` files under `folder`.
pub(crate) fn methods(folder: &str, package: &str) -> Vec<Method> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/proto");
    let descriptors = protox::compile(proto_files(&root.join(folder)), [root]).unwrap();
    let mut methods = Vec::new();
    for file in descriptors.file.iter().filter(|file| file.package() == package) {
        for service in &file.service {
            methods.extend(service.method.iter().map(|method| Method {
                path: format!("/{package}.{}/{}", service.name(), method.name()),
                goes_on: method.client_streaming(),
            }));
        }
    }
    methods
}

pub(crate) fn proto_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|name| name == "proto")).collect()
}

/// All that came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) words: String,
    /// The messages, one after the other.
    pub(crate) bytes: Vec<u8>,
    metadata: Vec<MetadataMap>,
}

impl Answer {
    /// Every byte of it, for searching.
    pub(crate) fn everything(&self) -> Vec<u8> {
        let text = format!("{} {:?}", self.words, self.metadata);
        [&self.bytes, text.as_bytes()].concat()
    }
}

pub(crate) fn channel(endpoint: &str) -> Channel {
    Endpoint::from_shared(endpoint.to_owned()).unwrap().connect_lazy()
}

/// Sends one message with headers, and takes all answers; of a method that goes on, the first.
pub(crate) async fn ask(
    channel: &Channel,
    method: &Method,
    message: Vec<u8>,
    headers: &[(&'static str, String)],
) -> Answer {
    let mut grpc = Grpc::new(channel.clone());
    bounded(grpc.ready()).await.unwrap();
    let mut request = Request::new(tokio_stream::iter([Bytes::from(message)]));
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let mut answer =
        Answer { code: Code::Ok, words: String::new(), bytes: Vec::new(), metadata: Vec::new() };
    let ended = bounded(take(&mut grpc, request, method, &mut answer)).await;
    if let Err(status) = ended {
        answer.code = status.code();
        answer.words = status.message().to_owned();
        answer.bytes.extend_from_slice(status.details());
        answer.metadata.push(status.metadata().clone());
    }
    answer
}

async fn take(
    grpc: &mut Grpc<Channel>,
    request: Request<tokio_stream::Iter<std::array::IntoIter<Bytes, 1>>>,
    method: &Method,
    answer: &mut Answer,
) -> Result<(), Status> {
    let path = method.path.parse().unwrap();
    let response = grpc.streaming(request, path, Raw).await?;
    answer.metadata.push(response.metadata().clone());
    let mut messages = response.into_inner();
    while let Some(message) = messages.message().await? {
        answer.bytes.extend_from_slice(&message);
        if method.goes_on {
            break;
        }
    }
    Ok(())
}

/// Messages as they are on the wire.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
