//! Plain HTTP/1.1 over one connection that is kept.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use testkit::bounded;
use tokio::net::TcpStream;

pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
}

/// An answer with its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Whether it still takes requests, after the last answer was read.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, and waits for the head of its answer.
    pub(crate) async fn open(
        &mut self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut request = Request::builder().method(verb).uri(path).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        bounded(self.sender.ready()).await?;
        bounded(self.sender.send_request(request)).await
    }

    /// Sends a request, and takes the whole answer.
    pub(crate) async fn send(
        &mut self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let response = self.open(verb, path, headers, body).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = bounded(body.collect()).await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A call that succeeds.
    pub(crate) async fn call(&mut self, path: &str, body: &str) -> Value {
        let answer = self.send("POST", path, &[], body.to_owned()).await;
        assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
        serde_json::from_slice(&answer.body).unwrap()
    }
}

/// The lines of a stream, as they come.
pub(crate) struct Lines {
    body: Incoming,
    text: Vec<u8>,
}

impl Lines {
    pub(crate) fn of(body: Incoming) -> Self {
        Self { body, text: Vec::new() }
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let Some(frame) = bounded(self.body.frame()).await else {
                // etcd ends no line after an error.
                let rest = std::mem::take(&mut self.text);
                return (!rest.is_empty()).then(|| serde_json::from_slice(&rest).unwrap());
            };
            let frame = frame.unwrap();
            self.text.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}
