//! TLS, authentication, who may connect.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT};

const NO_PEER_TLS: &str = "members do not talk over TLS yet";
const OWN_CLIENT: &str = "the server never dials its own client address";
const NO_TLS: &str = "clients cannot connect over TLS yet";
const GIVE_FILES: &str = "give --cert-file and --key-file";

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    supported("auth-token", Text, "simple", "kind of authentication token; `simple` alone"),
    supported("auth-token-ttl", UINT, "300", "seconds that a token lives unused"),
    supported("bcrypt-cost", UINT, "10", "cost of hashing a password, 4 to 31"),
    refused("cert-file", Text, "", NO_TLS),
    refused("key-file", Text, "", NO_TLS),
    refused("trusted-ca-file", Text, "", NO_TLS),
    refused("client-cert-auth", Bool, "false", NO_TLS),
    accepted("client-cert-file", Text, "", OWN_CLIENT),
    accepted("client-key-file", Text, "", OWN_CLIENT),
    refused("client-crl-file", Text, "", NO_TLS),
    refused("client-cert-allowed-hostname", Words, "", NO_TLS),
    refused("auto-tls", Bool, "false", GIVE_FILES),
    accepted("self-signed-cert-validity", UINT, "1", "no certificate is ever made here"),
    refused("tls-min-version", Text, "TLS1.2", NO_TLS),
    refused("tls-max-version", Text, "", NO_TLS),
    refused("cipher-suites", Words, "", NO_TLS),
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
