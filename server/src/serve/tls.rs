//! TLS on client addresses, by rustls. The files are read again when they change, so that a
//! certificate is renewed without a restart, as in etcd.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{TlsSettings, TlsVersions};

/// gRPC first; browsers and curl may want the older one.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The configuration for new connections. Clones share it.
#[derive(Clone)]
pub(super) struct Tls {
    settings: Arc<TlsSettings>,
    current: Arc<Mutex<Current>>,
}

struct Current {
    stamps: Stamps,
    config: Arc<ServerConfig>,
}

/// When each file was written last.
type Stamps = [Option<SystemTime>; 4];

impl Tls {
    /// # Errors
    /// One line that names the file that is missing or wrong.
    pub(super) fn open(settings: &TlsSettings) -> Result<Self, String> {
        let stamps = stamps(settings);
        let config = load(settings)?;
        let current = Arc::new(Mutex::new(Current { stamps, config }));
        Ok(Self { settings: Arc::new(settings.clone()), current })
    }

    /// Takes the next connection through its handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config().into()
    }

    /// What the next connection is to use. Files that changed and are wrong now leave the old
    /// configuration in force.
    fn config(&self) -> Arc<ServerConfig> {
        let found = stamps(&self.settings);
        let mut current = self.current.lock();
        if current.stamps != found {
            // Tried once for each change, good or bad.
            current.stamps = found;
            match load(&self.settings) {
                Ok(config) => {
                    tracing::info!("certificates were read again");
                    current.config = config;
                }
                Err(error) => tracing::warn!(error, "changed certificates are not used"),
            }
        }
        current.config.clone()
    }
}

fn stamps(settings: &TlsSettings) -> Stamps {
    let stamp = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    [
        stamp(&settings.cert_file),
        stamp(&settings.key_file),
        settings.trusted_ca_file.as_deref().and_then(stamp),
        settings.crl_file.as_deref().and_then(stamp),
    ]
}

fn load(settings: &TlsSettings) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let chain = read_all::<CertificateDer<'static>>(&settings.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key_file)
        .map_err(|error| at(&settings.key_file, &error))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(settings.versions))
        .map_err(|error| error.to_string())?;
    let builder = match verifier(settings, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| at(&settings.cert_file, &error))?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

static ALL_VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn versions(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match versions {
        TlsVersions::Tls12 => &ALL_VERSIONS[1..],
        TlsVersions::Tls13 => &ALL_VERSIONS[..1],
        TlsVersions::Both => &ALL_VERSIONS,
    }
}

/// Who looks at clients' certificates; `None`: nobody asks for them.
fn verifier(
    settings: &TlsSettings,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let Some(path) = &settings.trusted_ca_file else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in read_all(path)? {
        roots.add(certificate).map_err(|error| at(path, &error))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(path) = &settings.crl_file {
        let lists = read_all::<CertificateRevocationListDer<'static>>(path)?;
        // As etcd: only what a list names is turned away.
        builder = builder.with_crls(lists).allow_unknown_revocation_status();
    }
    builder.build().map(Some).map_err(|error| at(path, &error))
}

/// All objects of one kind in a PEM file, at least one.
fn read_all<T: PemObject>(path: &Path) -> Result<Vec<T>, String> {
    let objects = T::pem_file_iter(path).map_err(|error| at(path, &error))?;
    let objects: Vec<T> = objects.collect::<Result<_, _>>().map_err(|error| at(path, &error))?;
    if objects.is_empty() {
        return Err(format!("{}: nothing usable in this file", path.display()));
    }
    Ok(objects)
}

fn at(path: &Path, error: &impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
