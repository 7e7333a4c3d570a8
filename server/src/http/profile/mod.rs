//! `/debug/pprof/profile`: where this process spends its time, for `go tool pprof` and its like.
//!
//! Behind `--enable-pprof`, for it costs a few percent while it runs and shows what the process
//! does to whoever asks. Samples are taken in a signal handler, and not where the interrupted
//! code is one that unwinding needs itself; that is the crate `pprof`'s work, and unsafe there.
//! Here is the HTTP side, and the file format ([`format`]).
//!
//! Of Go's other profiles there is none: what they count (goroutines, its heap) is not here.

mod format;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http::{HeaderValue, StatusCode, header};
use pprof::ProfilerGuardBuilder;

use super::query;
use super::reply;

/// Go's default, for no number or one that makes no sense.
const SECONDS_DEFAULT: u64 = 30;
/// Nobody keeps a connection open for longer.
const SECONDS_MAX: u64 = 600;
/// Not a divisor of a whole second: what happens at each is seen all the same.
const SAMPLES_PER_S: i32 = 99;
/// What unwinding takes locks in.
const NOT_INTERRUPTED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

const INDEX: &str = "/debug/pprof/\n\nprofile?seconds=N\tCPU profile, for `go tool pprof`\n";

/// The paths.
pub fn routes() -> Router {
    Router::new().route("/debug/pprof/", any(index)).route("/debug/pprof/profile", any(profile))
}

async fn index() -> Response {
    reply::with_type(reply::TEXT, INDEX.to_owned())
}

async fn profile(request: Request) -> Response {
    let asked = query::values(request.uri().query(), "seconds");
    let seconds = asked.first().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or(SECONDS_DEFAULT);
    if seconds > SECONDS_MAX {
        let text = format!("profile duration exceeds {SECONDS_MAX} seconds");
        return reply::error(StatusCode::BAD_REQUEST, &text);
    }
    match take(Duration::from_secs(seconds)).await {
        Ok(profile) => answer(profile),
        Err(why) => {
            let text = format!("Could not enable CPU profiling: {why}");
            reply::error(StatusCode::INTERNAL_SERVER_ERROR, &text)
        }
    }
}

/// Samples for so long. Dropped before, it stops.
async fn take(length: Duration) -> Result<Vec<u8>, String> {
    let builder = ProfilerGuardBuilder::default().frequency(SAMPLES_PER_S);
    let running = builder.blocklist(&NOT_INTERRUPTED).build().map_err(|error| match error {
        pprof::Error::Running => "cpu profiling already in use".to_owned(),
        error => error.to_string(),
    })?;
    tokio::time::sleep(length).await;
    // Finding the names of all functions takes a while.
    let made = tokio::task::spawn_blocking(move || {
        let report = running.report().build().map_err(|error| error.to_string())?;
        drop(running);
        Ok(format::encode(&report))
    });
    made.await.map_err(|error| error.to_string())?
}

fn answer(profile: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(profile));
    let headers = response.headers_mut();
    let is = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, is("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, is("attachment; filename=\"profile\""));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, is("nosniff"));
    response
}
