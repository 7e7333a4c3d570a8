//! TLS, authentication, who may connect.

use super::{Flag, accepted, refused, supported};
use crate::config::value::{Kind::*, UINT};

const OWN_CLIENT: &str = "the server never dials its own client address";

#[rustfmt::skip] // one row, one line
pub(super) const FLAGS: &[Flag] = &[
    supported("auth-token", Text, "simple", "what a password is exchanged for: simple, or jwt,sign-method=M,priv-key=F,pub-key=F,ttl=5m (M: RS256 PS256 ES256 HS256, to 512, and EdDSA; not ES512)"),
    supported("auth-token-ttl", UINT, "300", "seconds that a simple token lives unused"),
    supported("bcrypt-cost", UINT, "10", "cost of hashing a password, 4 to 31"),
    supported("cert-file", Text, "", "certificate that clients see; read again when it changes"),
    supported("key-file", Text, "", "its private key"),
    supported("trusted-ca-file", Text, "", "authorities that clients' certificates must come from; clients without one are turned away"),
    supported("client-cert-auth", Bool, "false", "turn away clients without a certificate of --trusted-ca-file"),
    accepted("client-cert-file", Text, "", OWN_CLIENT),
    accepted("client-key-file", Text, "", OWN_CLIENT),
    supported("client-crl-file", Text, "", "clients' certificates that are no longer good, PEM or DER; read again when it changes"),
    supported("client-cert-allowed-hostname", Words, "", "names or addresses, one of which a client's certificate must be good for"),
    supported("auto-tls", Bool, "false", "make a certificate for clients to see, signed by nobody, in DATA-DIR/fixtures/client"),
    supported("self-signed-cert-validity", UINT, "1", "years that a certificate of --auto-tls or --peer-auto-tls lasts"),
    supported("tls-min-version", Choice(&["TLS1.2", "TLS1.3"]), "TLS1.2", "oldest version of TLS to speak"),
    supported("tls-max-version", Choice(&["", "TLS1.2", "TLS1.3"]), "", "newest version of TLS to speak; empty: 1.3"),
    supported("cipher-suites", Words, "", "cipher suites of TLS 1.2 to speak; empty: all that rustls has"),
    supported("peer-cert-file", Text, "", "certificate that members see; read again when it changes"),
    supported("peer-key-file", Text, "", "its private key"),
    supported("peer-trusted-ca-file", Text, "", "authorities that members' certificates must come from; read again when it changes"),
    supported("peer-client-cert-auth", Bool, "false", "turn away members without a certificate of --peer-trusted-ca-file"),
    supported("peer-client-cert-file", Text, "", "certificate to show to members that are dialed; empty: --peer-cert-file"),
    supported("peer-client-key-file", Text, "", "its private key"),
    supported("peer-cert-allowed-cn", Words, "", "common names, one of which a member's certificate must bear"),
    supported("peer-cert-allowed-hostname", Words, "", "names or addresses, one of which a member's certificate must be good for"),
    supported("peer-crl-file", Text, "", "members' certificates that are no longer good, PEM or DER; read again when it changes"),
    supported("peer-auto-tls", Bool, "false", "members encrypt with certificates of their own making, in DATA-DIR/fixtures/peer, and check nobody's"),
    supported("peer-skip-client-san-verification", Bool, "false", "let members in from addresses that their certificate does not name"),
    supported("cors", Words, "*", "origins whose pages may read answers to HTTP, comma-separated; *: all"),
    refused("host-whitelist", Words, "*", "the Host header is not checked"),
];
