//! Who is let in, beyond what an authority has signed.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::certificate::common_name;
use super::revoked::Revoked;
use crate::config::AllowedNames;

/// What a certificate must pass after an authority was found to have signed it.
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) revoked: Revoked,
    pub(super) allowed: AllowedNames,
}

impl Checks {
    fn pass(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        if std::iter::once(leaf).chain(others).any(|shown| self.revoked.names(shown)) {
            return Err(CertificateError::Revoked.into());
        }
        if is_allowed(&self.allowed, leaf) { Ok(()) } else { Err(not_allowed(leaf)) }
    }
}

fn is_allowed(allowed: &AllowedNames, leaf: &CertificateDer<'_>) -> bool {
    match allowed {
        AllowedNames::Any => true,
        AllowedNames::CommonNames(names) => {
            common_name(leaf).is_some_and(|found| names.contains(&found))
        }
        AllowedNames::Hostnames(hosts) => {
            let Ok(leaf) = ParsedCertificate::try_from(leaf) else { return false };
            let is_good_for = |host: &String| {
                let name = ServerName::try_from(host.as_str());
                name.is_ok_and(|name| verify_server_name(&leaf, &name).is_ok())
            };
            hosts.iter().any(is_good_for)
        }
    }
}

fn not_allowed(leaf: &CertificateDer<'_>) -> Error {
    let name = common_name(leaf).unwrap_or_default();
    // Of rustls's errors the one that prints its text as it is.
    Error::General(format!(
        "client certificate authentication failed: the certificate of {name:?} bears none of the \
         allowed names"
    ))
}

/// For who connects: a certificate is required, signed by one of `authorities`.
///
/// # Errors
/// One line, if no authority is usable.
pub(super) fn of_clients(
    authorities: RootCertStore,
    checks: Checks,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
    let inner = inner.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(Clients { inner, checks }))
}

/// For who is dialed: signed by one of `authorities`, and good for the name dialed.
///
/// # Errors
/// One line, if no authority is usable.
pub(super) fn of_servers(
    authorities: RootCertStore,
    checks: Checks,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider);
    let inner = inner.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(Servers { inner, checks }))
}

#[derive(Debug)]
struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    checks: Checks,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(leaf, others, now)?;
        self.checks.pass(leaf, others)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Servers {
    inner: Arc<dyn ServerCertVerifier>,
    checks: Checks,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(leaf, others, name, ocsp, now)?;
        self.checks.pass(leaf, others)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
