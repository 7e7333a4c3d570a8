//! Certificates and keys out of PEM files.

use std::path::Path;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::at;
use crate::config::CertificateFiles;

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// # Errors
/// One line that names the file.
pub(crate) fn pair(files: &CertificateFiles) -> Result<Pair, String> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| at(&files.key, &error))?;
    Ok((chain, key))
}

/// # Errors
/// One line that names the file.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| at(path, &error))?;
    }
    Ok(roots)
}

/// Those that the machine trusts, as Go falls back to.
///
/// # Errors
/// One line, if there are none.
pub(crate) fn system_authorities() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match (added, found.errors.first()) {
        (0, Some(error)) => Err(format!("no certificate authorities on this machine: {error}")),
        (0, None) => Err("no certificate authorities on this machine".to_owned()),
        _ => Ok(roots),
    }
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).map_err(|error| at(path, &error))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| at(path, &error))?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in this file", path.display()));
    }
    Ok(found)
}
