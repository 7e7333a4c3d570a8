//! gofail's HTTP interface (its `runtime/http.go`): paths, status codes, bodies.
//!
//! ```text
//! GET /             name=terms, a line each
//! GET /NAME         its terms; 404 if there is no such point or it is not set
//! GET /NAME/count   how often its terms were carried out
//! PUT /NAME         sets the terms in the body; 204
//! PUT /failpoints   the same for several: name=terms;name=terms
//! DELETE /NAME      204
//! ```
//!
//! It runs on a thread of its own, which passes no point.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime;

use super::gate::Held;
use super::points::{Error, Points, parse_list};

/// No chain of terms is near this.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A pause after a failed accept: when files run out, only time helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// Serves `points` at `address` from now on, for as long as the process lives.
///
/// # Errors
/// The address is none, or taken.
pub(super) fn serve(address: &str, points: Points) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || runtime.block_on(accept(listener, points));
    thread::Builder::new().name("failpoints".into()).spawn(serve)?;
    Ok(())
}

async fn accept(listener: TcpListener, points: Points) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "failpoints are not served"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(answer_one(stream, points.clone()))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One request a connection: the connection ends when its answer was sent, and then points may do
/// what they are set to.
async fn answer_one(stream: TcpStream, points: Points) {
    let held: Mutex<Option<Held>> = Mutex::default();
    let service =
        service_fn(|request| async { Ok::<_, Infallible>(answer(&points, request, &held).await) });
    let io = TokioIo::new(stream);
    // A client that is gone needs no answer.
    let _ = http1::Builder::new().keep_alive(false).serve_connection(io, service).await;
}

async fn answer(points: &Points, request: Request<Incoming>, held: &Mutex<Option<Held>>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return refuse(StatusCode::BAD_REQUEST, "failed ReadAll in PUT");
    };
    // After the body: whoever sends it slowly must not stop the points.
    *held.lock() = Some(points.gate.hold());
    let body = body.to_bytes();
    let name = head.uri.path().trim_start_matches('/');
    match head.method {
        Method::GET => get(points, name),
        Method::PUT => put(points, name, &String::from_utf8_lossy(&body)),
        Method::DELETE => match points.unset(name) {
            Ok(()) => done(),
            Err(error) => {
                refuse(StatusCode::BAD_REQUEST, &format!("failed to delete failpoint {error}"))
            }
        },
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
    }
}

fn get(points: &Points, name: &str) -> Answer {
    if name.is_empty() {
        return text(points.list());
    }
    if let Some(name) = name.strip_suffix("/count") {
        return match points.get(name) {
            Ok(chain) => text(chain.count().to_string()),
            Err(error @ Error::NoSuchPoint) => cannot_get(StatusCode::NOT_FOUND, &error),
            Err(error) => cannot_get(StatusCode::INTERNAL_SERVER_ERROR, &error),
        };
    }
    match points.get(name) {
        Ok(chain) => text(format!("{}\n", chain.text())),
        Err(error) => cannot_get(StatusCode::NOT_FOUND, &error),
    }
}

fn put(points: &Points, name: &str, body: &str) -> Answer {
    let list = match name.eq_ignore_ascii_case("failpoints") {
        true => parse_list(body),
        false => Ok(vec![(name, body)]),
    };
    let list = match list {
        Ok(list) => list,
        Err(why) => {
            return refuse(StatusCode::BAD_REQUEST, &format!("fail to parse failpoint: {why}"));
        }
    };
    for (name, terms) in list {
        if let Err(error) = points.set(name, terms) {
            return refuse(StatusCode::BAD_REQUEST, &format!("fail to set failpoint: {error}"));
        }
    }
    done()
}

fn done() -> Answer {
    with_status(StatusCode::NO_CONTENT, String::new())
}

fn text(body: String) -> Answer {
    with_status(StatusCode::OK, body)
}

fn cannot_get(status: StatusCode, error: &Error) -> Answer {
    refuse(status, &format!("failed to GET: {error}"))
}

fn refuse(status: StatusCode, why: &str) -> Answer {
    with_status(status, format!("{why}\n"))
}

fn with_status(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    answer
}
