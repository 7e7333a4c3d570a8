//! URLs as etcd takes them: a scheme, a host, a port and nothing else.

use std::fmt;
use std::net::IpAddr;

/// `http://host:port`, or a socket path after `unix://`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    pub scheme: Scheme,
    /// `host:port`, IPv6 in brackets; the path of a unix socket.
    pub address: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl Url {
    /// The host without its port and brackets.
    pub fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn port(&self) -> &str {
        self.address.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// # Errors
    /// The port is no number below 65,536.
    pub fn port_number(&self) -> std::io::Result<u16> {
        self.port().parse().map_err(|_| std::io::Error::other("invalid port"))
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }
}

/// A comma-separated list, without repeats, in the order given; empty text is an empty list.
///
/// # Errors
/// etcd's text for the first URL that is none.
pub fn parse_list(text: &str) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let url = parse(item.trim())?;
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    Ok(urls)
}

fn parse(text: &str) -> Result<Url, String> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| format!("URL scheme must be http, https, unix, or unixs: {text}"))?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "unix" => Scheme::Unix,
        "unixs" => Scheme::Unixs,
        _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
    };
    if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
        return Ok(Url { scheme, address: rest.to_owned() });
    }
    let (address, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if !has_host_and_port(address) {
        return Err(format!("URL address does not have the form \"host:port\": {text}"));
    }
    if !path.is_empty() {
        return Err(format!("URL must not contain a path: {text}"));
    }
    Ok(Url { scheme, address: address.to_owned() })
}

/// Go's `net.SplitHostPort` succeeds: one colon, or an IPv6 address in brackets before it.
fn has_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    (bracketed || !host.contains([':', '[', ']'])) && port.chars().all(|c| c.is_ascii_digit())
}

/// A server can only bind what needs no name lookup: an IP address, or localhost.
///
/// # Errors
/// etcd's text for the first URL with a domain name.
pub(super) fn check_bind(urls: &[Url]) -> Result<(), String> {
    for url in urls.iter().filter(|url| !url.is_unix()) {
        if url.host() != "localhost" && url.host().parse::<IpAddr>().is_err() {
            return Err(format!("expected IP in URL for binding ({url})"));
        }
    }
    Ok(())
}

/// What is advertised must name a host.
///
/// # Errors
/// etcd's text for the first URL without one.
pub(super) fn check_host(urls: &[Url]) -> Result<(), String> {
    match urls.iter().find(|url| !url.is_unix() && url.host().is_empty()) {
        Some(url) => Err(format!("unexpected empty host ({url})")),
        None => Ok(()),
    }
}

/// `a,b`, as etcd prints lists of URLs.
pub fn join(urls: &[Url]) -> String {
    urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_carry_etcds_texts() {
        // Shows the texts that etcd 3.4.23 prints for the same values.
        let text = |value| parse_list(value).unwrap_err();
        assert_eq!(
            text("ftp://127.0.0.1:2379"),
            "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:2379"
        );
        assert_eq!(
            text("http://127.0.0.1"),
            "URL address does not have the form \"host:port\": http://127.0.0.1"
        );
        assert_eq!(
            text("http://127.0.0.1:0/x"),
            "URL must not contain a path: http://127.0.0.1:0/x"
        );
        let urls = parse_list("http://foo.bar:2379").unwrap();
        assert_eq!(
            check_bind(&urls).unwrap_err(),
            "expected IP in URL for binding (http://foo.bar:2379)"
        );
    }

    #[test]
    fn lists_drop_repeats() {
        // Shows that order stays, repeats go, and IPv6 and localhost can be bound.
        let urls = parse_list("http://[::1]:1,http://localhost:2,http://[::1]:1").unwrap();
        assert_eq!(join(&urls), "http://[::1]:1,http://localhost:2");
        assert_eq!(urls[0].host(), "::1");
        assert!(check_bind(&urls).is_ok());
        assert!(check_host(&parse_list("http://:2379").unwrap()).is_err());
        assert!(parse_list("").unwrap().is_empty());
    }
}
