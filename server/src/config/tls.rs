//! TLS between clients and this member: which files, which versions.

use std::path::PathBuf;

use super::settings::Addresses;
use super::values::Values;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    /// With it, a client must show a certificate that one of these authorities signed.
    pub trusted_ca_file: Option<PathBuf>,
    pub crl_file: Option<PathBuf>,
    pub versions: TlsVersions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersions {
    Tls12,
    Tls13,
    Both,
}

/// What the flags say, checked against the addresses. `None`: no certificate was given.
///
/// # Errors
/// etcd's lines for `https` without a certificate, half a pair, and versions that exclude all; one
/// of berth's own for client certificates that nothing could check.
pub(super) fn read(values: &Values, addresses: &Addresses) -> Result<Option<TlsSettings>, String> {
    let file = |name| Some(values.get(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let versions = versions(&values.get("tls-min-version"), &values.get("tls-max-version"))?;
    let trusted_ca_file = file("trusted-ca-file");
    let (cert_file, key_file) = match (file("cert-file"), file("key-file")) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return without_certificate(addresses, trusted_ca_file.is_some()),
        (cert, key) => {
            return Err(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                key.unwrap_or_default().display(),
                cert.unwrap_or_default().display()
            ));
        }
    };
    if trusted_ca_file.is_none() && values.get("client-cert-auth") == "true" {
        return Err("--client-cert-auth needs --trusted-ca-file to check against".to_owned());
    }
    Ok(Some(TlsSettings {
        cert_file,
        key_file,
        trusted_ca_file,
        crl_file: file("client-crl-file"),
        versions,
    }))
}

fn without_certificate(
    addresses: &Addresses,
    trusted_ca: bool,
) -> Result<Option<TlsSettings>, String> {
    if let Some(url) = addresses.for_clients().find(|url| url.is_tls()) {
        return Err(format!(
            "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with \
             HTTPS scheme"
        ));
    }
    if trusted_ca {
        return Err("--trusted-ca-file needs --cert-file and --key-file".to_owned());
    }
    Ok(None)
}

fn versions(min: &str, max: &str) -> Result<TlsVersions, String> {
    match (min, max) {
        ("TLS1.3", "TLS1.2") => {
            Err(format!("min version ({min}) is greater than max version ({max})"))
        }
        ("TLS1.3", _) => Ok(TlsVersions::Tls13),
        (_, "TLS1.2") => Ok(TlsVersions::Tls12),
        _ => Ok(TlsVersions::Both),
    }
}
