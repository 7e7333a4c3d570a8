//! TLS between members.

use std::path::Path;

use super::{
    AllowedNames, Certificate, CertificateFiles, Flags, TlsSettings, Values, need_authorities,
    protocol,
};
use crate::config::settings::Addresses;

/// For peer addresses with `https`, and for dialing those of other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTlsSettings {
    /// `allowed` counts for who connects and for who is dialed, as in etcd.
    pub common: TlsSettings,
    /// What is shown when dialing, if not the listener's own certificate.
    pub dialing: Option<CertificateFiles>,
    /// Whoever connects must do so from an address that its certificate is good for.
    pub check_remote_address: bool,
}

/// What the flags say, checked against the addresses. `None`: members talk in the clear.
///
/// # Errors
/// etcd's lines for `https` without a certificate, half a pair, both kinds of allowed names, and
/// what [`protocol::read`] refuses; berth's own for what could only be checked against authorities
/// that are not given.
pub(in crate::config) fn read(
    values: &Values,
    addresses: &Addresses,
    data_dir: &Path,
) -> Result<Option<PeerTlsSettings>, String> {
    let flags = Flags { values, prefix: "peer-" };
    let protocol = protocol::read(values)?;
    let trusted_ca_file = flags.trusted_ca_file()?;
    let checked = ["crl-file", "cert-allowed-cn", "cert-allowed-hostname"];
    need_authorities(&flags, &checked, ("peer-trusted-ca-file", trusted_ca_file.as_ref()))?;
    let dialing = flags.pair("Client", "client-cert-file", "client-key-file")?;
    let allowed = allowed(&flags)?;
    let Some(certificate) = flags.certificate(self_signed(values, addresses, data_dir))? else {
        return without_certificate(addresses, trusted_ca_file.is_some());
    };
    Ok(Some(PeerTlsSettings {
        common: TlsSettings {
            certificate,
            trusted_ca_file,
            crl_file: flags.file("crl-file"),
            allowed,
            protocol,
        },
        dialing,
        check_remote_address: !flags.is_on("skip-client-san-verification"),
    }))
}

fn allowed(flags: &Flags) -> Result<AllowedNames, String> {
    let names = flags.words("cert-allowed-cn");
    let hostnames = flags.words("cert-allowed-hostname");
    match (names.is_empty(), hostnames.is_empty()) {
        (true, true) => Ok(AllowedNames::Any),
        (false, true) => Ok(AllowedNames::CommonNames(names)),
        (true, false) => Ok(AllowedNames::Hostnames(hostnames)),
        (false, false) => Err(format!(
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns={names:?}, \
             hostnames={hostnames:?})"
        )),
    }
}

fn self_signed(values: &Values, addresses: &Addresses, data_dir: &Path) -> Certificate {
    Certificate::SelfSigned {
        dir: data_dir.join("fixtures").join("peer"),
        hosts: addresses.listen_peer.iter().map(|url| url.host().to_owned()).collect(),
        validity_years: protocol::validity_years(values),
    }
}

fn without_certificate(
    addresses: &Addresses,
    trusted_ca: bool,
) -> Result<Option<PeerTlsSettings>, String> {
    if let Some(url) = addresses.listen_peer.iter().find(|url| url.is_tls()) {
        return Err(format!(
            "cannot listen on TLS for {}: KeyFile and CertFile are not presented: give \
             --peer-cert-file and --peer-key-file, or --peer-auto-tls",
            url.address
        ));
    }
    if trusted_ca {
        return Err("--peer-trusted-ca-file needs --peer-cert-file and --peer-key-file".to_owned());
    }
    Ok(None)
}
