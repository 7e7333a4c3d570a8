//! Versions and cipher suites, the same towards clients and between members.

use super::Values;

/// What may be spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsProtocol {
    pub versions: TlsVersions,
    /// Names out of [`CIPHER_SUITES`], for TLS 1.2; empty: all of them. Those of TLS 1.3 are always
    /// all there, as in Go.
    pub cipher_suites: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersions {
    Tls12,
    Tls13,
    Both,
}

/// Every suite that `--cipher-suites` takes, by Go's names, which are IANA's.
pub const CIPHER_SUITES: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// # Errors
/// etcd's lines: versions that exclude all, an unknown or unsupported suite, suites that could
/// never be used.
pub(super) fn read(values: &Values) -> Result<TlsProtocol, String> {
    let versions = versions(&values.get("tls-min-version"), &values.get("tls-max-version"))?;
    let text = values.get("cipher-suites");
    let names = text.split(',').filter(|name| !name.is_empty());
    let cipher_suites: Vec<&str> = names.map(cipher_suite).collect::<Result<_, _>>()?;
    if versions == TlsVersions::Tls13 && !cipher_suites.is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
    }
    let for_tls12 = |name: &&str| name.starts_with("TLS_ECDHE_");
    if versions == TlsVersions::Tls12 && !cipher_suites.is_empty() {
        cipher_suites.iter().find(|name| for_tls12(name)).ok_or_else(|| {
            format!("--cipher-suites={text} leaves no suite to --tls-max-version=TLS1.2")
        })?;
    }
    Ok(TlsProtocol { versions, cipher_suites })
}

/// `--self-signed-cert-validity`; more years than any certificate can say are as many as it can.
pub(super) fn validity_years(values: &Values) -> u32 {
    values.get("self-signed-cert-validity").parse().unwrap_or(u32::MAX)
}

fn cipher_suite(name: &str) -> Result<&'static str, String> {
    // Two that Go knew by shorter names once.
    let full = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => {
            format!("{name}_SHA256")
        }
        _ => name.to_owned(),
    };
    CIPHER_SUITES.iter().find(|known| **known == full).copied().ok_or_else(|| {
        format!("unexpected TLS cipher suite {name:?} (berth speaks {})", CIPHER_SUITES.join(", "))
    })
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
