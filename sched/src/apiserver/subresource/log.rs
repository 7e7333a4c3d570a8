//! What a container has written, as a stream.

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};

use super::super::path::Target;
use super::super::status::{Failure, Result};
use super::super::{ApiServer, Body, BoxError, Call};

/// What is read of an answer that is no log.
const REASON_BYTES_MAX: usize = 4096;
/// Parameters that the agent takes.
const PASSED: [&str; 7] =
    ["follow", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "timestamps", "previous"];

impl ApiServer {
    pub(super) async fn log(&self, target: &Target, call: &Call) -> Result<Response<Body>> {
        let (_, container, agent) = self.find_agent(target, call.query.get("container")).await?;
        for flag in ["follow", "timestamps", "previous"] {
            call.query.flag(flag)?;
        }
        for number in ["tailLines", "sinceSeconds", "limitBytes"] {
            call.query.number(number)?;
        }
        let path = path(target, call, &container);
        let request = agent.request(&path).body(Empty::new());
        let request = request.map_err(|error| Failure::internal(error.to_string()))?;
        let answer = agent.connect().await?.send_request(request).await;
        let answer = answer.map_err(|error| Failure::internal(error.to_string()))?;
        let (head, body) = answer.into_parts();
        if head.status != StatusCode::OK {
            let text = Limited::new(body, REASON_BYTES_MAX).collect().await;
            let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(Failure::bad_request(text));
        }
        let mut response = Response::new(body.map_err(BoxError::from).boxed_unsync());
        let plain = http::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
        Ok(response)
    }
}

fn path(target: &Target, call: &Call, container: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for name in PASSED {
        if let Some(value) = call.query.get(name) {
            query.append_pair(name, value);
        }
    }
    let namespace = target.namespace().unwrap_or_default();
    format!("/logs/{namespace}/{}/{container}?{}", target.name(), query.finish())
}
