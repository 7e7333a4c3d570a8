//! TLS with whoever is there.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Believes every certificate: the connection is encrypted, with whom is not known.
#[derive(Debug)]
pub struct Anyone {
    provider: Arc<CryptoProvider>,
    /// The other side has to have the certificate's key.
    asks_for_key: bool,
}

impl Anyone {
    /// Whoever has the key of the certificate that they show. For what etcd and Kubernetes do not
    /// ask more of either: `--peer-auto-tls`, `berth ctl --insecure-skip-tls-verify`.
    pub fn with_key(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, asks_for_key: true }
    }

    /// Everybody: for probes over HTTPS, by which nothing is told to anybody. Kubernetes' own take
    /// certificates that are too old or too weak to be looked at; so do these.
    pub fn at_all(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, asks_for_key: false }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.asks_for_key {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !self.asks_for_key {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
