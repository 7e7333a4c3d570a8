//! TLS between clients and this member.

use std::path::Path;

use super::{AllowedNames, Certificate, Flags, TlsSettings, Values, need_authorities, protocol};
use crate::config::settings::Addresses;

/// For client addresses with `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsSettings {
    pub common: TlsSettings,
    /// The common name of a client's certificate is its user, unless it sends a token.
    pub common_name_is_user: bool,
}

/// What the flags say, checked against the addresses. `None`: clients get no TLS.
///
/// # Errors
/// etcd's lines for `https` without a certificate, half a pair, and what [`protocol::read`]
/// refuses; berth's own for what could only be checked against authorities that are not given.
pub(in crate::config) fn read(
    values: &Values,
    addresses: &Addresses,
    data_dir: &Path,
) -> Result<Option<ClientTlsSettings>, String> {
    let flags = Flags { values, prefix: "" };
    let protocol = protocol::read(values)?;
    let trusted_ca_file = flags.trusted_ca_file()?;
    let of_clients = Flags { values, prefix: "client-" };
    let hostnames = of_clients.words("cert-allowed-hostname");
    let checked = ["crl-file", "cert-allowed-hostname"];
    need_authorities(&of_clients, &checked, ("trusted-ca-file", trusted_ca_file.as_ref()))?;
    let Some(certificate) = flags.certificate(self_signed(values, addresses, data_dir))? else {
        return without_certificate(addresses, trusted_ca_file.is_some());
    };
    let allowed = match hostnames.is_empty() {
        true => AllowedNames::Any,
        false => AllowedNames::Hostnames(hostnames),
    };
    Ok(Some(ClientTlsSettings {
        common: TlsSettings {
            certificate,
            trusted_ca_file,
            crl_file: of_clients.file("crl-file"),
            allowed,
            protocol,
        },
        common_name_is_user: flags.is_on("client-cert-auth"),
    }))
}

fn self_signed(values: &Values, addresses: &Addresses, data_dir: &Path) -> Certificate {
    let listening = addresses.listen_client.iter().chain(&addresses.listen_client_http);
    Certificate::SelfSigned {
        dir: data_dir.join("fixtures").join("client"),
        hosts: listening.map(|url| url.host().to_owned()).collect(),
        validity_years: protocol::validity_years(values),
    }
}

fn without_certificate(
    addresses: &Addresses,
    trusted_ca: bool,
) -> Result<Option<ClientTlsSettings>, String> {
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
