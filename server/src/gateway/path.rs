//! Paths as Go's routing and etcd's gateway take them.

use axum::body::Body;
use axum::response::Response;
use http::uri::Uri;
use http::{HeaderValue, StatusCode, header};

use crate::http::location;

/// Where the gateway is; the later ones are what it was called once.
pub(super) const PREFIXES: [&str; 3] = ["/v3/", "/v3beta/", "/v3alpha/"];

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a path of the table, if there is one.
    Path(String),
    /// Nowhere: it is to be sent again, to here.
    Moved(String),
}

impl Target {
    pub(super) fn of(uri: &Uri) -> Self {
        let path = decoded(uri.path());
        let clean = clean(&path);
        if clean != path {
            return Self::Moved(location(clean.as_bytes(), uri.query()));
        }
        let old = PREFIXES[1..].iter().find_map(|prefix| path.strip_prefix(prefix));
        Self::Path(old.map(|rest| format!("/v3/{rest}")).unwrap_or(path))
    }
}

/// 301.
pub(super) fn moved(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    // A path with what no header may hold is no path that anybody meant.
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// With `%72` as `r`; what is no text afterwards stays as it is.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

/// Without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_gos() {
        // Shows old names, escapes, and what is sent on.
        let target = |path: &str| Target::of(&path.parse().unwrap());
        let path = |path: &str| Target::Path(path.to_owned());
        let moved = |path: &str| Target::Moved(path.to_owned());
        assert_eq!(target("/v3/kv/range?x=1"), path("/v3/kv/range"));
        assert_eq!(target("/v3beta/kv/range"), path("/v3/kv/range"));
        assert_eq!(target("/v3alpha/kv/range"), path("/v3/kv/range"));
        assert_eq!(target("/v3/kv/%72ange"), path("/v3/kv/range"));
        assert_eq!(target("/v3/kv/range/"), path("/v3/kv/range/"));
        assert_eq!(target("/v3/kv/%zz%f"), path("/v3/kv/%zz%f"));
        assert_eq!(target("/v3/kv/a/../range"), moved("/v3/kv/range"));
        assert_eq!(target("/v3/kv/a/%2E%2e/range"), moved("/v3/kv/range"));
        assert_eq!(target("/../v3/../../v3/kv/range/.."), moved("/v3/kv"));
        assert_eq!(target("/v3/kv/./range"), moved("/v3/kv/range"));
        assert_eq!(target("/v3/kv/..range"), path("/v3/kv/..range"));
        assert_eq!(target("/v3//kv/range?x=1"), moved("/v3/kv/range?x=1"));
    }
}
