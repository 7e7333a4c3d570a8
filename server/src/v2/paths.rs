//! Paths of requests as Go's router takes them: decoded, and in their one clean form.

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use store::v2::Path;

use super::form::decode;

/// The decoded path.
///
/// # Errors
/// The answer: that it cannot be decoded, or where the same thing is found under its clean path.
pub(super) fn clean(method: &Method, uri: &Uri) -> Result<Vec<u8>, Box<Response>> {
    let Ok(path) = decode(uri.path().as_bytes(), false) else {
        return Err(Box::new(crate::http::error(StatusCode::BAD_REQUEST, "400 Bad Request")));
    };
    let mut clean = Path::clean(&path).as_bytes().to_vec();
    if path.last() == Some(&b'/') && clean != b"/" {
        clean.push(b'/');
    }
    if clean == path { Ok(path) } else { Err(Box::new(moved(method, &clean, uri.query()))) }
}

fn moved(method: &Method, path: &[u8], query: Option<&str>) -> Response {
    let target = crate::http::location(path, query);
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let escaped = target.replace('&', "&amp;").replace('"', "&#34;").replace('\'', "&#39;");
    let escaped = escaped.replace('<', "&lt;").replace('>', "&gt;");
    let body = format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n");
    let mut response = Response::new(if is_read { Body::from(body) } else { Body::empty() });
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    if is_read {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html);
    }
    if let Ok(target) = HeaderValue::from_str(&target) {
        headers.insert(header::LOCATION, target);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_clean_is_sent_on() {
        // Shows which paths are served and where the others are sent, their query with them.
        let clean = |uri: &'static str| clean(&Method::GET, &Uri::from_static(uri));
        assert_eq!(clean("/v2/keys/a%20b/").unwrap(), b"/v2/keys/a b/");
        for (uri, target) in [
            ("/v2/keys//a?x=%3b", "/v2/keys/a?x=%3b"),
            ("/v2/keys/%2e%2e/x", "/v2/x"),
            ("/v2/keys/a/./%ff/", "/v2/keys/a/%FF/"),
        ] {
            let moved = clean(uri).unwrap_err();
            assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
            assert_eq!(moved.headers()[header::LOCATION], target);
        }
        assert_eq!(clean("/v2/%zz").unwrap_err().status(), StatusCode::BAD_REQUEST);
    }
}
