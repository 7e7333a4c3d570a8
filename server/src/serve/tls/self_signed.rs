//! Certificates of one's own making (`--auto-tls`, `--peer-auto-tls`).
//!
//! They encrypt and prove nothing: nobody signs them but themselves.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};

use super::at;
use crate::config::CertificateFiles;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Beyond it certificates need another way to write a year; nobody waits that long.
const YEARS_MAX: u32 = 1000;

/// The certificate and key in `dir`, as they are, or made now for `hosts` to last
/// `validity_years`. Both stay over restarts; delete them to have new ones.
///
/// # Errors
/// One line that names the file or directory.
pub(super) fn ensure(
    dir: &Path,
    hosts: &[String],
    validity_years: u32,
) -> Result<CertificateFiles, String> {
    let files = CertificateFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    if files.cert.exists() && files.key.exists() {
        return Ok(files);
    }
    // The data directory above it may not be there yet, and is for its owner alone too.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| at(dir, &error))?;
    let (cert, key) = make(hosts, validity_years).map_err(|error| at(dir, &error))?;
    write(&files.key, &key)?;
    write(&files.cert, &cert)?;
    tracing::warn!(
        cert = %files.cert.display(),
        validity_years,
        "a certificate was made; it encrypts, but proves to nobody who this is"
    );
    Ok(files)
}

fn make(hosts: &[String], validity_years: u32) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "berth");
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + YEAR * validity_years.min(YEARS_MAX)).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // Members show the same one when they dial.
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok((cert.pem(), key.serialize_pem()))
}

/// Whole or not at all: a start that was cut short must not leave half a pair that looks whole.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let unfinished = path.with_extension("tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&unfinished).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&unfinished, path)).map_err(|error| at(path, &error))
}
