//! Versions and cipher suites, from etcd's names to rustls's.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, SupportedProtocolVersion};

use crate::config::{TlsProtocol, TlsVersions};

static ALL_VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

pub(super) fn versions(versions: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match versions {
        TlsVersions::Tls12 => &ALL_VERSIONS[1..],
        TlsVersions::Tls13 => &ALL_VERSIONS[..1],
        TlsVersions::Both => &ALL_VERSIONS,
    }
}

/// rustls's cryptography with the suites that were asked for. As in Go a list of suites restricts
/// TLS 1.2 alone, and its order says nothing.
pub(super) fn provider(protocol: &TlsProtocol) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if !protocol.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            suite.version().version == ProtocolVersion::TLSv1_3
                || name(suite.suite()).is_some_and(|name| protocol.cipher_suites.contains(&name))
        });
    }
    Arc::new(provider)
}

/// etcd's name for a suite of TLS 1.2.
fn name(suite: CipherSuite) -> Option<&'static str> {
    // rustls writes its constants as IANA does.
    let name = suite.as_str()?;
    crate::config::CIPHER_SUITES.iter().find(|known| **known == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CIPHER_SUITES;

    #[test]
    fn every_suite_of_tls_1_2_can_be_named() {
        // Shows that the list of names is rustls's, no more and no less, and that asking for one
        // leaves that one, beside those of TLS 1.3.
        let every = ring::default_provider().cipher_suites;
        let mut of_tls12 = 0;
        for suite in &every {
            let Some(name) = name(suite.suite()) else {
                assert_eq!(suite.version().version, ProtocolVersion::TLSv1_3);
                continue;
            };
            of_tls12 += 1;
            let protocol = TlsProtocol { versions: TlsVersions::Both, cipher_suites: vec![name] };
            let left = provider(&protocol).cipher_suites.clone();
            assert_eq!(left.len(), 4, "{name}");
            assert!(left.contains(suite), "{name}");
        }
        let named = CIPHER_SUITES.iter().filter(|name| name.starts_with("TLS_ECDHE_")).count();
        assert_eq!((of_tls12, every.len()), (named, CIPHER_SUITES.len()));
    }
}
