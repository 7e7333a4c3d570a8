//! TLS by rustls: towards clients, and between members.
//!
//! Every file (certificate, key, authorities, revocation list) is read again when it changes, so
//! that none of them needs a restart. Invariant: files that are wrong are never used; those read
//! before stay in force, and the log says so.
//!
//! Start at [`ClientTls`] and [`PeerTls`]; who is let in is in `verify.rs`.

mod accept;
mod certificate;
mod configs;
mod connect;
mod origin;
mod pem;
mod reload;
mod revoked;
mod self_signed;
mod suites;
#[cfg(test)]
mod tests;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

pub use accept::Acceptor;
pub(crate) use certificate::common_name;
pub use connect::Connector;
pub(crate) use pem::{authorities, pair, system_authorities};

use crate::config::{
    Certificate, CertificateFiles, ClientTlsSettings, PeerTlsSettings, TlsSettings,
};
use configs::Sources;
use reload::Reloaded;

/// TLS on client addresses. Clones share it.
#[derive(Clone)]
pub(super) struct ClientTls {
    acceptor: Acceptor,
    common_name_is_user: bool,
}

impl ClientTls {
    /// Reads the files; makes a self-signed certificate if that is asked for and there is none.
    ///
    /// # Errors
    /// One line that names the file that is missing or wrong.
    pub(super) fn open(settings: &ClientTlsSettings) -> Result<Self, String> {
        let sources = sources(&settings.common, None)?;
        let acceptor = Acceptor::new(server_configs("clients", sources)?, false);
        Ok(Self { acceptor, common_name_is_user: settings.common_name_is_user })
    }

    pub(super) fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    /// Whether the common name of a client's certificate is its user.
    pub(super) fn common_name_is_user(&self) -> bool {
        self.common_name_is_user
    }
}

/// TLS between members: both ends of it. Clones share what was read.
///
/// ```text
/// let tls = PeerTls::open(&settings)?;
/// let stream = tls.acceptor().accept(tcp).await?;             // on a peer listener
/// let stream = tls.connector().connect("10.0.0.2", tcp).await?; // towards another member
/// ```
#[derive(Clone)]
pub struct PeerTls {
    acceptor: Acceptor,
    connector: Connector,
}

impl PeerTls {
    /// Reads the files; makes a self-signed certificate if that is asked for and there is none.
    ///
    /// # Errors
    /// One line that names the file that is missing or wrong.
    pub fn open(settings: &PeerTlsSettings) -> Result<Self, String> {
        let sources = sources(&settings.common, settings.dialing.clone())?;
        let dialing = sources.clone();
        let load = move || dialing.client_config().map(Arc::new);
        let files = sources.files();
        let connector = Connector::new(Reloaded::open("dialing members", files, load)?);
        let accepting = server_configs("members", sources)?;
        let acceptor = Acceptor::new(accepting, settings.check_remote_address);
        Ok(Self { acceptor, connector })
    }

    /// For peer listeners. It has checked, when a handshake succeeds: the authority, the revocation
    /// list, the allowed names, and that the certificate is good for the remote address
    /// (`--peer-skip-client-san-verification` turns the last off).
    pub fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    /// For dialing members. It has checked, when a handshake succeeds: the authority, that the
    /// certificate is good for the name dialed, the revocation list and the allowed names; nothing
    /// with `--peer-auto-tls`.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }
}

fn server_configs(
    whom: &'static str,
    sources: Sources,
) -> Result<Reloaded<Arc<tokio_rustls::rustls::ServerConfig>>, String> {
    let files = sources.files();
    Reloaded::open(whom, files, move || sources.server_config().map(Arc::new))
}

/// Where everything is read from. A certificate of one's own is made here if it is missing.
fn sources(settings: &TlsSettings, dialing: Option<CertificateFiles>) -> Result<Sources, String> {
    let (certificate, is_self_signed) = match &settings.certificate {
        Certificate::Files(files) => (files.clone(), false),
        Certificate::SelfSigned { dir, hosts, validity_years } => {
            (self_signed::ensure(dir, hosts, *validity_years)?, true)
        }
    };
    Ok(Sources {
        dialing: dialing.unwrap_or_else(|| certificate.clone()),
        certificate,
        is_self_signed,
        trusted_ca_file: settings.trusted_ca_file.clone(),
        crl_file: settings.crl_file.clone(),
        allowed: settings.allowed.clone(),
        protocol: settings.protocol.clone(),
    })
}

/// What went wrong with a file, for people.
fn at(path: &std::path::Path, error: &impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

type Files = Vec<PathBuf>;
