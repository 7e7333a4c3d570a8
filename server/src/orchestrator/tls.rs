//! TLS of the Kubernetes API: a certificate of its own, and callers by theirs.

use std::path::Path;
use std::sync::Arc;

use sched::apiserver::User;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::CertificateFiles;
use crate::serve::tls;

/// Everybody who proved to be somebody.
const AUTHENTICATED: &str = "system:authenticated";

#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
}

impl Tls {
    /// # Errors
    /// One line that names the file that is missing or wrong.
    pub(super) fn open(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, String> {
        let files = CertificateFiles { cert: cert.to_owned(), key: key.to_owned() };
        let (chain, key) = tls::pair(&files)?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(tls::authorities(path)?);
                // Who has a token need not have a certificate.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("{}: {error}", cert.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Shakes hands; returns who the client's certificate says it is, if it has one.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(TlsStream<TcpStream>, Option<User>)> {
        let stream = self.acceptor.accept(stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let user = certificates.and_then(<[_]>::first).and_then(user_of);
        Ok((stream, user))
    }
}

/// The common name is the user, the organisations are groups. `None`: it names nobody.
fn user_of(der: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().last()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let organisations = subject.iter_organization().filter_map(|one| one.as_str().ok());
    let mut groups: Vec<String> = organisations.map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Some(User { name, groups })
}
