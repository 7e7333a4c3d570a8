//! How the commands of discovery reach the store: with `berth ctl`'s flags and environment.

use std::sync::Arc;
use std::time::Duration;

use sched::kv::grpc::{Endpoint, GrpcKv};
use sched::kv::{Credentials, Error, Store};
use tonic::transport::Channel;

use crate::config::{Scheme, Settings, Url};
use crate::ctl::args::Global;
use crate::ctl::connect::Session;
use crate::ctl::failure::Failure;

/// A client of all endpoints. Nothing is connected yet.
///
/// `attempt_max`: how long one member may take to answer.
pub(crate) fn open(global: Global, attempt_max: Duration) -> Result<Store, Failure> {
    of_session(&Session::new(global)?, attempt_max)
}

/// The same, with the flags that a session was made of.
pub(crate) fn of_session(session: &Session, attempt_max: Duration) -> Result<Store, Failure> {
    let credentials = session.credentials().map(|(name, password)| Credentials { name, password });
    let kv = GrpcKv::new(session.lazy_endpoints()?, credentials).map_err(|error| failed(&error))?;
    Ok(Arc::new(kv.with_attempt_max(attempt_max)))
}

/// A client of this very server, for `part` of it.
///
/// # Errors
/// One line: the server has no address without TLS.
pub(crate) fn own(
    settings: &Settings,
    part: &str,
    credentials: Option<Credentials>,
) -> Result<Store, String> {
    let plain = |url: &&Url| url.scheme == Scheme::Http;
    let Some(url) = settings.addresses.listen_client.iter().find(plain) else {
        return Err(format!(
            "{part} reaches its own store without TLS: add http://127.0.0.1:PORT to \
             --listen-client-urls"
        ));
    };
    let name = url.to_string().replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
    let target = Channel::from_shared(name.clone()).map_err(|error| error.to_string())?;
    let endpoint = Endpoint::new(name, move || target.connect_lazy());
    let store = GrpcKv::new(vec![endpoint], credentials).map_err(|error| error.message)?;
    Ok(Arc::new(store))
}

pub(crate) fn failed(error: &Error) -> Failure {
    Failure::error(error.message.clone())
}

/// Of `berth ctl`'s global flags, those that mean nothing here.
pub(super) fn hide_unused(command: clap::Command) -> clap::Command {
    let unused = ["hex", "command_timeout"];
    unused.into_iter().fold(command, |command, name| command.mut_arg(name, |arg| arg.hide(true)))
}
