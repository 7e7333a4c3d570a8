//! Certificates that are no longer good.

use std::collections::BTreeSet;
use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{at, certificate};

/// The serial numbers that a revocation list names. As in etcd nothing else of the list counts:
/// neither who issued it nor when it was due to be replaced.
#[derive(Debug, Default)]
pub(super) struct Revoked(BTreeSet<Vec<u8>>);

impl Revoked {
    /// Reads a file with one list in DER, or any number of them in PEM.
    ///
    /// # Errors
    /// One line that names the file, also when it holds no list.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| at(path, &error))?;
        let is_pem = bytes.windows(5).any(|window| window == b"-----");
        let lists: Vec<CertificateRevocationListDer> = match is_pem {
            true => CertificateRevocationListDer::pem_slice_iter(&bytes)
                .collect::<Result<_, _>>()
                .map_err(|error| at(path, &error))?,
            false => vec![bytes.into()],
        };
        if lists.is_empty() {
            return Err(format!("{}: no revocation list in this file", path.display()));
        }
        let mut revoked = Self::default();
        for list in &lists {
            let (_, list) = CertificateRevocationList::from_der(list)
                .map_err(|error| at(path, &format!("not a revocation list: {error}")))?;
            let serials = list.iter_revoked_certificates();
            revoked.0.extend(serials.map(|entry| entry.user_certificate.to_bytes_be()));
        }
        Ok(revoked)
    }

    /// Whether the list names it; what is no certificate is not good either.
    pub(super) fn names(&self, der: &CertificateDer<'_>) -> bool {
        certificate::serial(der).is_none_or(|serial| self.0.contains(&serial))
    }
}
