//! One HTTP/1.1 connection, and what comes over it.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use testkit::bounded;
use tokio::net::TcpStream;

const FORM: &str = "application/x-www-form-urlencoded";

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub method: &'static str,
    /// With the query.
    pub target: String,
    /// The body and its type.
    pub body: Option<(&'static str, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Ask {
        Ask { method, target: target.into(), body: None }
    }

    pub(crate) fn form(self, form: impl Into<String>) -> Ask {
        Ask { body: Some((FORM, form.into())), ..self }
    }
}

impl Answer {
    /// The body, which must be JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// A number in a header; 0 if it is not there.
    pub(crate) fn number(&self, header: &str) -> u64 {
        self.headers.get(header).map_or(0, |value| value.to_str().unwrap().parse().unwrap())
    }
}

/// A connection that is used again and again, for as long as the server lets it.
pub(crate) struct Connection {
    port: u16,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Connection {
        Connection { port, sender: connect(port).await }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sends `ask` and returns the whole answer.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Answer {
        let begun = self.begin(ask).await;
        bounded(whole(begun)).await
    }

    /// The same on this very connection, which must still be good.
    pub(crate) async fn ask_again(&mut self, ask: &Ask) -> Answer {
        bounded(self.sender.ready()).await.expect("the connection stays usable");
        self.ask(ask).await
    }

    /// The status of the answer; `None`: the connection was cut while `ask` was being sent, and what
    /// was said of it is lost with it.
    pub(crate) async fn status_or_cut(&mut self, ask: &Ask) -> Option<u16> {
        self.try_begin(ask).await.ok().map(|begun| begun.status().as_u16())
    }

    /// Sends `ask` and returns what came at once: the headers, and a body that may take long.
    pub(crate) async fn begin(&mut self, ask: &Ask) -> Response<Incoming> {
        self.try_begin(ask).await.unwrap_or_else(|error| panic!("{ask:?}: {error}"))
    }

    async fn try_begin(&mut self, ask: &Ask) -> Result<Response<Incoming>, hyper::Error> {
        if bounded(self.sender.ready()).await.is_err() {
            self.sender = connect(self.port).await;
        }
        let mut request =
            Request::builder().method(ask.method).uri(&ask.target).header("host", "h");
        if let Some((content_type, _)) = &ask.body {
            request = request.header("content-type", *content_type);
        }
        let body = ask.body.as_ref().map_or(Bytes::new(), |(_, body)| body.clone().into());
        let request = request.body(Full::new(body)).unwrap();
        bounded(self.sender.send_request(request)).await
    }
}

/// What is left of an answer.
pub(crate) async fn whole(begun: Response<Incoming>) -> Answer {
    let (parts, body) = begun.into_parts();
    let body = body.collect().await.expect("the body arrives").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn piece(begun: &mut Response<Incoming>) -> Option<Bytes> {
    let frame = begun.body_mut().frame().await?;
    frame.expect("the body arrives").into_data().ok()
}

async fn connect(port: u16) -> SendRequest<Full<Bytes>> {
    let stream = bounded(TcpStream::connect(("127.0.0.1", port))).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = bounded(handshake(TokioIo::new(stream))).await.unwrap();
    tokio::spawn(connection);
    sender
}
