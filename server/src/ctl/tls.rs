//! TLS towards the server, as etcdctl's flags ask for it.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use sched::tls::Anyone;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tower::Service;

use super::args::Global;
use super::failure::Failure;
use crate::config::CertificateFiles;
use crate::serve::tls::{authorities, pair, system_authorities};

const HTTPS_PORT: u16 = 443;

/// For pages that are asked for by HTTP/1: `cacert` in place of the system's authorities, or anybody.
///
/// # Errors
/// One line that names the file that is wrong.
pub(crate) fn pages(cacert: Option<PathBuf>, skip_verify: bool) -> Result<ClientConfig, String> {
    let flags = TlsFlags { cacert, cert: None, key: None, skip_verify, insecure_transport: false };
    let mut config = flags.config()?;
    config.alpn_protocols.clear();
    Ok(config)
}

/// What the flags say.
pub(super) struct TlsFlags {
    cacert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    skip_verify: bool,
    insecure_transport: bool,
}

impl TlsFlags {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            cacert: global.cacert.clone(),
            cert: global.cert.clone(),
            key: global.key.clone(),
            skip_verify: global.insecure_skip_tls_verify,
            insecure_transport: global.insecure_transport,
        }
    }

    /// Whether an endpoint without a scheme is one with TLS: any of the files says so.
    pub(super) fn is_default(&self) -> bool {
        let files = [&self.cacert, &self.cert, &self.key];
        !self.insecure_transport || files.iter().any(|file| file.is_some())
    }

    /// # Errors
    /// One line that names the flag or file that is wrong.
    pub(super) fn connector(&self) -> Result<Secure, Failure> {
        let config = self.config().map_err(Failure::bad_args)?;
        Ok(Secure { tls: Arc::new(config).into() })
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone::with_key(provider)))
        } else {
            let roots = match &self.cacert {
                Some(path) => authorities(path)?,
                None => system_authorities()?,
            };
            builder.with_root_certificates(roots)
        };
        let mut config = match self.pair()? {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = pair(&files)?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| format!("{}: {error}", files.cert.display()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn pair(&self) -> Result<Option<CertificateFiles>, String> {
        match (self.cert.clone(), self.key.clone()) {
            (Some(cert), Some(key)) => Ok(Some(CertificateFiles { cert, key })),
            (None, None) => Ok(None),
            (cert, key) => Err(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                key.unwrap_or_default().display(),
                cert.unwrap_or_default().display()
            )),
        }
    }
}

/// Connects to `https` endpoints.
#[derive(Clone)]
pub(super) struct Secure {
    tls: TlsConnector,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl Service<Uri> for Secure {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = uri.port_u16().unwrap_or(HTTPS_PORT);
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            tls.connect(name, stream).await.map(TokioIo::new)
        })
    }
}
