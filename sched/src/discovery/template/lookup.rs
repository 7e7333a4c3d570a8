//! Functions of templates that ask DNS and this machine, as confd has them.
//!
//! Answers are sorted: what only came in another order must not cost a reload. A name that does not
//! exist is an empty list, as in confd; that nobody answers is an error, so that the file stays.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use minijinja::value::Serde;
use minijinja::{Environment, Error, Value};
use serde::Serialize;
use tokio::runtime::Handle;

use super::functions::wrong;
use crate::discovery::dns::Resolvers;
use crate::discovery::dns::forward::Forwarder;
use crate::discovery::seal::Identities;
use crate::resolv_conf::{self, ResolvConf};

/// What the C library says when it is the name that has no address.
const NO_SUCH_NAME: [&str; 2] = ["Name or service not known", "No address associated"];

/// What templates need beside the keys.
#[derive(Default)]
pub struct Helpers {
    /// What sealed values are read with.
    pub identities: Option<Identities>,
    /// Who is asked for names; nobody: the system's resolvers, and its table of hosts.
    pub resolvers: Vec<SocketAddr>,
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Identities are secret.
        f.debug_struct("Helpers").field("resolvers", &self.resolvers).finish_non_exhaustive()
    }
}

/// A service record, with confd's names for its fields in small letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Srv {
    target: String,
    port: u16,
    priority: u16,
    weight: u16,
}

/// Adds all functions. They block: on DNS, too.
pub(super) fn add(environment: &mut Environment<'_>, helpers: &Arc<Helpers>) {
    type Wanted = fn(&IpAddr) -> bool;
    let families: [(&str, Wanted); 3] =
        [("lookupIP", |_| true), ("lookupIPV4", IpAddr::is_ipv4), ("lookupIPV6", IpAddr::is_ipv6)];
    for (function, wanted) in families {
        let helpers = helpers.clone();
        environment.add_function(function, move |name: &str| {
            let mut found: Vec<String> = addresses(name, &helpers)?
                .iter()
                .filter(|address| wanted(address))
                .map(ToString::to_string)
                .collect();
            found.sort_unstable();
            found.dedup();
            Ok::<_, Error>(found)
        });
    }
    let asking = helpers.clone();
    environment.add_function("lookupSRV", move |service: &str, proto: &str, name: &str| {
        services(service, proto, name, &asking).map(|found| Value::from(Serde(found)))
    });
    environment.add_function("lookupIfaceIPV4", |name: &str| interface(name, IpAddr::is_ipv4));
    environment.add_function("lookupIfaceIPV6", |name: &str| interface(name, IpAddr::is_ipv6));
}

fn addresses(name: &str, helpers: &Helpers) -> Result<Vec<IpAddr>, Error> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    if !helpers.resolvers.is_empty() {
        let records = [RecordType::A, RecordType::AAAA].map(|kind| ask(name, kind, helpers));
        let mut found = Vec::new();
        for message in records {
            found.extend(message?.answers.into_iter().filter_map(|record| match record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            }));
        }
        return Ok(found);
    }
    match (name, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        // The standard library has one kind for all; these words are the C library's.
        Err(error) if NO_SUCH_NAME.iter().any(|words| error.to_string().contains(words)) => {
            Ok(Vec::new())
        }
        Err(error) => Err(wrong(format!("{name}: {error}"))),
    }
}

/// `service` and `proto` may be empty: then `name` is asked for as it is.
fn services(service: &str, proto: &str, name: &str, helpers: &Helpers) -> Result<Vec<Srv>, Error> {
    let whole = match (service, proto) {
        ("", "") => name.to_owned(),
        _ => format!("_{service}._{proto}.{name}"),
    };
    let message = ask(&whole, RecordType::SRV, helpers)?;
    let mut found: Vec<Srv> = message
        .answers
        .into_iter()
        .filter_map(|record| match record.data {
            RData::SRV(srv) => Some(Srv {
                target: srv.target.to_string(),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn ask(name: &str, kind: RecordType, helpers: &Helpers) -> Result<Message, Error> {
    let fail = |reason: String| wrong(format!("{name}: {reason}"));
    let mut asked = Name::from_utf8(name).map_err(|error| fail(error.to_string()))?;
    asked.set_fqdn(true);
    let resolvers = match helpers.resolvers.as_slice() {
        [] => system_resolvers().map_err(&fail)?,
        resolvers => resolvers.to_vec(),
    };
    let resolvers = Resolvers::Named(resolvers);
    let runtime = Handle::try_current().map_err(|error| fail(error.to_string()))?;
    let forwarder = Forwarder::new(resolvers);
    let answer = runtime.block_on(forwarder.look_up(asked, kind)).map_err(&fail)?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        code => Err(fail(format!("the resolver answers {code}"))),
    }
}

fn system_resolvers() -> Result<Vec<SocketAddr>, String> {
    let conf = ResolvConf::of_machine();
    let found = conf.map_err(|error| format!("{}: {error}", resolv_conf::PATH))?.resolvers();
    if found.is_empty() {
        return Err(format!("{} names no resolver", resolv_conf::PATH));
    }
    Ok(found)
}

/// The first address of an interface of this machine.
fn interface(name: &str, wanted: fn(&IpAddr) -> bool) -> Result<String, Error> {
    let all = if_addrs::get_if_addrs().map_err(|error| wrong(error.to_string()))?;
    let found = all.iter().find(|one| one.name == name && wanted(&one.ip()));
    let missing = || wrong(format!("there is no such address of an interface {name:?}"));
    found.map(|one| one.ip().to_string()).ok_or_else(missing)
}
