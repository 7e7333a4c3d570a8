//! TLS, authentication, who may connect.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT};

const NO_PEER_TLS: &str = "members do not talk over TLS yet";
const OWN_CLIENT: &str = "the server never dials its own client address";
const GIVE_FILES: &str = "give --cert-file and --key-file";

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    supported("auth-token", Text, "simple", "kind of authentication token; `simple` alone"),
    supported("auth-token-ttl", UINT, "300", "seconds that a token lives unused"),
    supported("bcrypt-cost", UINT, "10", "cost of hashing a password, 4 to 31"),
    supported("cert-file", Text, "", "certificate that clients see; read again when it changes"),
    supported("key-file", Text, "", "its private key"),
    supported("trusted-ca-file", Text, "", "authorities that clients' certificates must come from; clients without one are turned away"),
    supported("client-cert-auth", Bool, "false", "turn away clients without a certificate of --trusted-ca-file"),
    accepted("client-cert-file", Text, "", OWN_CLIENT),
    accepted("client-key-file", Text, "", OWN_CLIENT),
    supported("client-crl-file", Text, "", "certificates that are no longer good"),
    refused("client-cert-allowed-hostname", Words, "", "every certificate of --trusted-ca-file is let in"),
    refused("auto-tls", Bool, "false", GIVE_FILES),
    accepted("self-signed-cert-validity", UINT, "1", "no certificate is ever made here"),
    supported("tls-min-version", Choice(&["TLS1.2", "TLS1.3"]), "TLS1.2", "oldest version of TLS to speak"),
    supported("tls-max-version", Choice(&["", "TLS1.2", "TLS1.3"]), "", "newest version of TLS to speak; empty: 1.3"),
    refused("cipher-suites", Words, "", "rustls speaks no weak suite, so there is none to leave out"),
    refused("peer-cert-file", Text, "", NO_PEER_TLS),
    refused("peer-key-file", Text, "", NO_PEER_TLS),
    refused("peer-trusted-ca-file", Text, "", NO_PEER_TLS),
    refused("peer-client-cert-auth", Bool, "false", NO_PEER_TLS),
    refused("peer-client-cert-file", Text, "", NO_PEER_TLS),
    refused("peer-client-key-file", Text, "", NO_PEER_TLS),
    refused("peer-cert-allowed-cn", Words, "", NO_PEER_TLS),
    refused("peer-cert-allowed-hostname", Words, "", NO_PEER_TLS),
    refused("peer-crl-file", Text, "", NO_PEER_TLS),
    refused("peer-auto-tls", Bool, "false", NO_PEER_TLS),
    refused("peer-skip-client-san-verification", Bool, "false", NO_PEER_TLS),
    refused("cors", Words, "*", "no CORS headers are sent"),
    refused("host-whitelist", Words, "*", "the Host header is not checked"),
];
