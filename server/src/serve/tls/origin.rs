//! Whether a member connects from where its certificate says it lives (etcd's `checkCertSAN`).

use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

use super::certificate::{AlternativeNames, alternative_names};

/// A certificate that names no address and no host may come from anywhere; so may who shows none,
/// where none is asked for.
///
/// # Errors
/// The remote address is none of those that the certificate names.
pub(super) async fn check(stream: &TlsStream<TcpStream>) -> io::Result<()> {
    let (socket, session) = stream.get_ref();
    let Some(leaf) = session.peer_certificates().and_then(<[CertificateDer]>::first) else {
        return Ok(());
    };
    let remote = socket.peer_addr()?.ip().to_canonical();
    let named = alternative_names(leaf).ok_or_else(|| io::Error::other("not a certificate"))?;
    if is_named(remote, &named).await {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("tls: {remote} does not match any of {:?} {:?}", named.addresses, named.names),
    ))
}

async fn is_named(remote: IpAddr, named: &AlternativeNames) -> bool {
    if named.addresses.is_empty() && named.names.is_empty() {
        return true;
    }
    if named.addresses.contains(&remote) {
        return true;
    }
    !named.names.is_empty()
        && (is_name_of(remote, &named.names).await || resolves(remote, &named.names).await)
}

/// Whether the address has one of the names, by reverse look-up; a wildcard stands for any name
/// below it.
async fn is_name_of(remote: IpAddr, names: &[String]) -> bool {
    let found = tokio::task::spawn_blocking(move || dns_lookup::lookup_addr(&remote)).await;
    let Ok(Ok(found)) = found else { return false };
    let found = found.trim_end_matches('.').to_owned();
    names.iter().any(|name| match name.strip_prefix('*') {
        Some(below) => below.starts_with('.') && found.ends_with(below),
        None => *name == found,
    })
}

/// Whether one of the names has the address.
async fn resolves(remote: IpAddr, names: &[String]) -> bool {
    for name in names.iter().filter(|name| !name.starts_with('*')) {
        if let Ok(mut found) = tokio::net::lookup_host((name.as_str(), 0)).await
            && found.any(|address| address.ip().to_canonical() == remote)
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn may(remote: &str, addresses: &[&str], names: &[&str]) -> bool {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let names = names.iter().map(ToString::to_string).collect();
        is_named(remote.parse().unwrap(), &AlternativeNames { addresses, names }).await
    }

    #[tokio::test]
    async fn a_certificate_is_good_for_its_own_addresses() {
        // Shows that addresses and resolved names let in, others do not, and that no name at all
        // is no restriction, as in etcd.
        assert!(may("127.0.0.1", &[], &[]).await);
        assert!(may("127.0.0.1", &["127.0.0.1"], &[]).await);
        assert!(may("127.0.0.1", &["192.0.2.1"], &["localhost"]).await);
        assert!(!may("127.0.0.1", &["192.0.2.1"], &[]).await);
        assert!(!may("192.0.2.7", &[], &["localhost"]).await);
        assert!(!may("192.0.2.7", &["127.0.0.1"], &["*.invalid"]).await);
    }
}
