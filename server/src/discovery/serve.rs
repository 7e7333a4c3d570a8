//! The DNS server within `berth serve`: its flags, and its life beside the store.
//!
//! It is a client of this server's own store, through an address like any other client's.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sched::discovery::dns::{self, Bound, Metrics, Resolvers, SKYDNS_PATH, Zone};
use sched::kv::{Credentials, Store};

use super::dns::resolver;
use super::{duration, store};
use crate::config::{OwnFlags, Settings};

/// What `berth serve --help` says of them.
pub(crate) const HELP: &str = "
DNS (each also as BERTH_NAME in the environment):
  --dns-listen 'off'
      addresses to answer DNS on, by UDP and TCP. Without any argument berth answers on 127.0.0.1:8053.
  --dns-domain 'cluster.local'
      domains to answer for, as `berth dns --domain`
  --dns-ttl '5s'
      how long clients may keep an answer; less where a lease is shorter
  --dns-forward ''
      resolvers to ask for other names; without one, those are refused
  --dns-user ''
      NAME:PASSWORD of the user that reads the store, when auth is on
";

const NAMES: &[&str] = &["dns-listen", "dns-domain", "dns-ttl", "dns-forward", "dns-user"];

/// Not mDNS's port, which desktops have taken.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8053);

/// As the operator asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    /// `None`: no DNS.
    dns: Option<dns::Settings>,
    user: Option<(String, String)>,
    /// Nobody asked for it: an address that is taken is no reason not to serve the store.
    is_default: bool,
}

/// Takes the flags of DNS out of the server's. `is_alone`: berth was called without any argument.
///
/// # Errors
/// One line: which flag is wrong, and what it takes.
pub(crate) fn take(
    arguments: &mut Vec<OsString>,
    environment: &[(String, String)],
    is_alone: bool,
) -> Result<Flags, String> {
    let own = OwnFlags::take(NAMES, arguments, environment)?;
    let listen = own.get("dns-listen");
    let is_default = listen.is_none();
    let listen = match listen.as_deref() {
        None if is_alone => vec![DEFAULT_LISTEN],
        None | Some("off") => Vec::new(),
        Some(text) => list("dns-listen", text, |one| {
            one.parse().map_err(|_| "expected off or IP:PORT, as 127.0.0.1:8053".to_owned())
        })?,
    };
    let text = |name, default: &str| own.get(name).unwrap_or_else(|| default.to_owned());
    let zones = list("dns-domain", &text("dns-domain", "cluster.local"), |one| {
        one.parse::<Zone>().map_err(|error| error.to_string())
    })?;
    let ttl = text("dns-ttl", "5s");
    let ttl = duration(&ttl).map_err(|error| format!("--dns-ttl={ttl}: {error}"))?;
    let forward = match own.get("dns-forward") {
        None => Vec::new(),
        Some(text) => list("dns-forward", &text, resolver)?,
    };
    let user = match own.get("dns-user") {
        None => None,
        Some(text) => {
            let parts = text.split_once(':').ok_or("--dns-user: write it as NAME:PASSWORD")?;
            Some((parts.0.to_owned(), parts.1.to_owned()))
        }
    };
    let dns = (!listen.is_empty()).then(|| settings(listen, zones, ttl, forward));
    Ok(Flags { dns, user, is_default })
}

fn settings(
    listen: Vec<SocketAddr>,
    zones: Vec<Zone>,
    ttl: Duration,
    forward: Vec<SocketAddr>,
) -> dns::Settings {
    let ttl_s = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let forward = Resolvers::Named(forward);
    dns::Settings { listen, zones, skydns_path: SKYDNS_PATH.to_owned(), ttl_s, forward }
}

fn list<T>(
    name: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let parse = |one: &str| parse(one.trim()).map_err(|why| format!("--{name}={one}: {why}"));
    text.split(',').map(parse).collect()
}

/// Before the addresses are taken again.
const AGAIN: Duration = Duration::from_secs(1);

/// The DNS server of a server; it may be none.
pub(crate) struct Dns {
    serving: Option<Serving>,
    metrics: Metrics,
}

struct Serving {
    bound: Bound,
    store: Store,
    settings: dns::Settings,
}

/// Takes the addresses.
///
/// # Errors
/// One line: what was asked for cannot be had.
pub(crate) async fn open(flags: Flags, settings: &Settings) -> Result<Dns, String> {
    let metrics = Metrics::default();
    let Flags { dns: Some(dns), user, is_default } = flags else {
        return Ok(Dns { serving: None, metrics });
    };
    let credentials = user.map(|(name, password)| Credentials { name, password });
    let serving = async {
        let store = store::own(settings, "DNS", credentials)?;
        let bound = dns::bind(&store, &dns, metrics.clone()).await?;
        Ok(Serving { bound, store, settings: dns })
    };
    match serving.await {
        Ok(serving) => Ok(Dns { serving: Some(serving), metrics }),
        Err(line) if is_default => {
            tracing::warn!("DNS is not answered, the store is served: {line}");
            Ok(Dns { serving: None, metrics })
        }
        Err(line) => Err(line),
    }
}

impl Dns {
    /// What it counts, for the server's own page of metrics; `None` if there is no DNS.
    pub(crate) fn metrics(&self) -> Option<Metrics> {
        self.serving.is_some().then(|| self.metrics.clone())
    }

    /// Runs until it is dropped. A socket that fails is no reason to end the store: it begins anew.
    pub(crate) async fn run(self) -> Infallible {
        let Some(Serving { mut bound, store, settings }) = self.serving else {
            return std::future::pending().await;
        };
        loop {
            if let Err(error) = bound.run(std::future::pending()).await {
                tracing::error!("DNS cannot go on, and begins anew: {error}");
            }
            bound = loop {
                tokio::time::sleep(AGAIN).await;
                match dns::bind(&store, &settings, self.metrics.clone()).await {
                    Ok(bound) => break bound,
                    Err(error) => tracing::error!("DNS is not answered: {error}"),
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(words: &[&str], variables: &[(&str, &str)]) -> Result<(Flags, usize), String> {
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment: Vec<_> = variables.iter().map(own).collect();
        let is_alone = arguments.is_empty();
        take(&mut arguments, &environment, is_alone).map(|flags| (flags, arguments.len()))
    }

    #[test]
    fn dns_is_answered_where_it_was_asked_for() {
        // Proves the flags, that the environment counts, and that without arguments, and only then,
        // it runs unasked.
        let (flags, _) = taken(&[], &[]).unwrap();
        assert_eq!(flags.dns.unwrap().listen, [DEFAULT_LISTEN]);
        assert!(flags.is_default);
        assert!(taken(&["--name=a"], &[]).unwrap().0.dns.is_none());
        assert!(taken(&[], &[("BERTH_DNS_LISTEN", "off")]).unwrap().0.dns.is_none());
        let words = ["--dns-listen", "127.0.0.1:1,[::1]:2", "--name=a", "--dns-domain=a.b,c"];
        let variables = [("BERTH_DNS_FORWARD", "192.0.2.1"), ("BERTH_DNS_USER", "me:my:word")];
        let (flags, left) = taken(&words, &variables).unwrap();
        let dns = flags.dns.unwrap();
        assert_eq!((dns.listen.len(), dns.zones.len(), dns.ttl_s, left), (2, 2, 5, 1));
        assert_eq!(dns.forward, Resolvers::Named(vec!["192.0.2.1:53".parse().unwrap()]));
        assert_eq!(flags.user, Some(("me".to_owned(), "my:word".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        // Proves that each flag's mistakes are told with its name.
        for (words, name) in [
            (&["--dns-listen=everywhere"][..], "--dns-listen"),
            (&["--dns-ttl=soon"], "--dns-ttl"),
            (&["--dns-forward=x"], "--dns-forward"),
            (&["--dns-domain=a..b"], "--dns-domain"),
            (&["--dns-user=me"], "--dns-user"),
        ] {
            let error = taken(words, &[]).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
