//! TLS towards clients and between members: which certificates, whom to let in, which versions.
//!
//! Only flags are read here. Files are opened, and certificates made, by `serve::tls`.

mod client;
mod peer;
mod protocol;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use client::ClientTlsSettings;
pub use peer::PeerTlsSettings;
pub use protocol::{CIPHER_SUITES, TlsProtocol, TlsVersions};

use super::values::Values;

/// What TLS towards clients and between members has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    pub certificate: Certificate,
    /// With it, whoever connects must show a certificate that one of these authorities signed.
    pub trusted_ca_file: Option<PathBuf>,
    /// Certificates that are no longer good; only beside `trusted_ca_file`.
    pub crl_file: Option<PathBuf>,
    /// Whose certificates are let in, of those that are good; only beside `trusted_ca_file`.
    pub allowed: AllowedNames,
    pub protocol: TlsProtocol,
}

/// What a listener shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    Files(CertificateFiles),
    /// Made at the first start, kept in `dir`, signed by nobody else.
    SelfSigned {
        dir: PathBuf,
        /// Names and addresses without ports.
        hosts: Vec<String>,
        validity_years: u32,
    },
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Names that a certificate must bear, one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedNames {
    /// None is asked for.
    Any,
    /// Its subject's common name.
    CommonNames(Vec<String>),
    /// Names or addresses that it is good for, wildcards included.
    Hostnames(Vec<String>),
}

/// The flags of one side, by its prefix: `""` or `"peer-"`.
struct Flags<'a> {
    values: &'a Values,
    prefix: &'static str,
}

impl Flags<'_> {
    fn get(&self, name: &str) -> String {
        self.values.get(&format!("{}{name}", self.prefix))
    }

    fn is_on(&self, name: &str) -> bool {
        self.get(name) == "true"
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.get(name)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn words(&self, name: &str) -> Vec<String> {
        let text = self.get(name);
        text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// The pair given by two flags, or none.
    ///
    /// # Errors
    /// etcd's line for half a pair; `what` begins the names in it.
    fn pair(&self, what: &str, cert: &str, key: &str) -> Result<Option<CertificateFiles>, String> {
        match (self.file(cert), self.file(key)) {
            (Some(cert), Some(key)) => Ok(Some(CertificateFiles { cert, key })),
            (None, None) => Ok(None),
            (cert, key) => Err(format!(
                "{what}KeyFile and {what}CertFile must both be present[key: {}, cert: {}]",
                key.unwrap_or_default().display(),
                cert.unwrap_or_default().display()
            )),
        }
    }

    /// The authorities, which `--client-cert-auth` cannot do without.
    fn trusted_ca_file(&self) -> Result<Option<PathBuf>, String> {
        let file = self.file("trusted-ca-file");
        if file.is_none() && self.is_on("client-cert-auth") {
            let prefix = self.prefix;
            return Err(format!(
                "--{prefix}client-cert-auth needs --{prefix}trusted-ca-file to check against"
            ));
        }
        Ok(file)
    }

    /// The certificate that was given or is to be made, if there is either.
    ///
    /// # Errors
    /// One line: half a pair, a validity of no years, or authorities beside a certificate of one's
    /// own making, which etcd would drop without a word.
    fn certificate(&self, auto: Certificate) -> Result<Option<Certificate>, String> {
        if let Some(files) = self.pair("", "cert-file", "key-file")? {
            return Ok(Some(Certificate::Files(files)));
        }
        if !self.is_on("auto-tls") {
            return Ok(None);
        }
        if matches!(auto, Certificate::SelfSigned { validity_years: 0, .. }) {
            return Err("--self-signed-cert-validity must be greater than 0".to_owned());
        }
        let prefix = self.prefix;
        let useless = ["trusted-ca-file", "client-cert-auth"];
        match useless.iter().find(|name| !matches!(self.get(name).as_str(), "" | "false")) {
            Some(name) => Err(format!(
                "--{prefix}{name} has no effect beside --{prefix}auto-tls, whose certificates no \
                 authority signs: give --{prefix}cert-file and --{prefix}key-file"
            )),
            None => Ok(Some(auto)),
        }
    }
}

/// Refuses those of `names` that could only be checked against `--AUTHORITIES` when it is not given.
fn need_authorities(
    flags: &Flags,
    names: &[&str],
    authorities: (&str, Option<&PathBuf>),
) -> Result<(), String> {
    let (authorities, file) = authorities;
    let given = names.iter().find(|name| !flags.get(name).is_empty());
    match given {
        Some(name) if file.is_none() => Err(format!(
            "--{}{name} needs --{authorities}: without it nobody is asked for a certificate",
            flags.prefix
        )),
        _ => Ok(()),
    }
}

pub(super) use client::read as read_client;
pub(super) use peer::read as read_peer;
