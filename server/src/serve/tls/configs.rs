//! rustls's configurations for the two ends of a connection.

use std::path::PathBuf;
use std::sync::Arc;

use sched::tls::Anyone;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use super::revoked::Revoked;
use super::verify::{self, Checks};
use super::{Files, at, pem, suites};
use crate::config::{AllowedNames, CertificateFiles, TlsProtocol};

/// gRPC first; browsers and curl may want the older one.
const SERVED: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What both configurations are made of.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) certificate: CertificateFiles,
    /// What is shown when dialing.
    pub(super) dialing: CertificateFiles,
    /// Nobody can check such certificates, so nobody does.
    pub(super) is_self_signed: bool,
    pub(super) trusted_ca_file: Option<PathBuf>,
    pub(super) crl_file: Option<PathBuf>,
    pub(super) allowed: AllowedNames,
    pub(super) protocol: TlsProtocol,
}

impl Sources {
    /// All files that count.
    pub(super) fn files(&self) -> Files {
        let pairs = [&self.certificate, &self.dialing];
        let mut files: Files =
            pairs.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]).collect();
        files.extend(self.trusted_ca_file.clone());
        files.extend(self.crl_file.clone());
        files
    }

    /// For who connects.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn server_config(&self) -> Result<ServerConfig, String> {
        let provider = suites::provider(&self.protocol);
        let (chain, key) = pem::pair(&self.certificate)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(suites::versions(self.protocol.versions))
            .map_err(|error| error.to_string())?;
        let builder = match &self.trusted_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let authorities = pem::authorities(path)?;
                let verifier = verify::of_clients(authorities, self.checks()?, provider);
                builder.with_client_cert_verifier(verifier.map_err(|error| at(path, &error))?)
            }
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| at(&self.certificate.cert, &error))?;
        config.alpn_protocols = SERVED.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// For whom is dialed.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn client_config(&self) -> Result<ClientConfig, String> {
        let provider = suites::provider(&self.protocol);
        let (chain, key) = pem::pair(&self.dialing)?;
        let verifier = self.server_verifier(&provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(suites::versions(self.protocol.versions))
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key);
        let mut config = config.map_err(|error| at(&self.dialing.cert, &error))?;
        config.alpn_protocols = vec![SERVED[0].to_vec()];
        Ok(config)
    }

    fn server_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, String> {
        if self.is_self_signed {
            return Ok(Arc::new(Anyone::with_key(provider.clone())));
        }
        let authorities = match &self.trusted_ca_file {
            Some(path) => pem::authorities(path)?,
            None => pem::system_authorities()?,
        };
        verify::of_servers(authorities, self.checks()?, provider.clone())
    }

    fn checks(&self) -> Result<Checks, String> {
        let revoked = self.crl_file.as_deref().map(Revoked::read).transpose()?.unwrap_or_default();
        Ok(Checks { revoked, allowed: self.allowed.clone() })
    }
}
