//! What a certificate says of its holder.

use std::net::IpAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The subject's common name, the last one if it has several, as Go reads it; empty if it has
/// none. `None`: not a certificate.
pub(crate) fn common_name(der: &CertificateDer<'_>) -> Option<String> {
    let certificate = parse(der)?;
    let last = certificate.subject().iter_common_name().last();
    Some(last.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned())
}

/// Big-endian, without leading zeros: the form in which serial numbers are compared.
pub(super) fn serial(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    parse(der).map(|certificate| certificate.serial.to_bytes_be())
}

/// The addresses and names that a certificate is good for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AlternativeNames {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) names: Vec<String>,
}

/// `None`: not a certificate.
pub(super) fn alternative_names(der: &CertificateDer<'_>) -> Option<AlternativeNames> {
    let certificate = parse(der)?;
    let mut found = AlternativeNames::default();
    let Some(extension) = certificate.subject_alternative_name().ok()? else {
        return Some(found);
    };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => found.names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => found.addresses.extend(address(bytes)),
            _ => {}
        }
    }
    Some(found)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}
