//! `--auth-token`: what a user gets for a password.

use std::path::PathBuf;
use std::time::Duration;

use super::duration;

/// etcd's `DefaultTTL` of JSON web tokens.
const JWT_TTL: Duration = Duration::from_secs(300);
const JWT_METHODS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "HS256", "HS384",
    "HS512", "EdDSA",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthToken {
    /// A random text that every member remembers, for so long after its last use.
    Simple { ttl: Duration },
    /// A signed JSON web token, which nobody needs to remember.
    Jwt(JwtSettings),
}

/// At least one of the keys is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// As JSON web tokens name it: `RS256`, `EdDSA`.
    pub method: &'static str,
    /// PEM: a public key or a certificate. Enough to check tokens.
    pub public_key: Option<PathBuf>,
    /// PEM, or with `HS…` any bytes. Needed to sign.
    pub private_key: Option<PathBuf>,
    pub ttl: Duration,
}

/// Reads `simple` or `jwt,sign-method=M,priv-key=F,pub-key=F,ttl=5m`, and what the operator should
/// know of it.
///
/// # Errors
/// One line with the option that is wrong or missing, in etcd's words where it has some.
pub(super) fn read(text: &str, simple_ttl: Duration) -> Result<(AuthToken, Vec<String>), String> {
    let refused = |why: String| format!("--auth-token={text}: auth: invalid auth options: {why}");
    let (kind, options) = text.split_once(',').unwrap_or((text, ""));
    let options = pairs(options).map_err(refused)?;
    match kind {
        "simple" => Ok((AuthToken::Simple { ttl: simple_ttl }, unknown(&options, &[]))),
        "jwt" => {
            let known = ["sign-method", "pub-key", "priv-key", "ttl"];
            let jwt = jwt(&options).map_err(refused)?;
            Ok((AuthToken::Jwt(jwt), unknown(&options, &known)))
        }
        kind => Err(refused(format!("{kind:?} is neither simple nor jwt"))),
    }
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

fn pairs(text: &str) -> Result<Pairs<'_>, String> {
    let mut pairs: Pairs = Vec::new();
    for item in text.split(',').filter(|_| !text.is_empty()) {
        let pair = item.split_once('=').filter(|(_, value)| !value.contains('='));
        let (name, value) = pair.ok_or_else(|| format!("{item:?} is no name=value"))?;
        if pairs.iter().any(|(given, _)| *given == name) {
            return Err(format!("{name} is given twice"));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// etcd goes on without these, too.
fn unknown(options: &Pairs, known: &[&str]) -> Vec<String> {
    let unknown = options.iter().filter(|(name, _)| !known.contains(name));
    unknown.map(|(name, _)| format!("--auth-token: unknown option {name} has no effect")).collect()
}

fn jwt(options: &Pairs) -> Result<JwtSettings, String> {
    let get = |wanted| {
        let found = options.iter().find(|(name, value)| *name == wanted && !value.is_empty());
        found.map(|(_, value)| *value)
    };
    let method = get("sign-method").ok_or("sign-method is missing")?;
    let method = JWT_METHODS.into_iter().find(|known| *known == method).ok_or_else(|| {
        format!("sign-method {method} is none of those that berth knows: {}", JWT_METHODS.join(" "))
    })?;
    let (public_key, private_key) = (get("pub-key"), get("priv-key"));
    let key = if method.starts_with("HS") { private_key } else { private_key.or(public_key) };
    if key.is_none() {
        return Err("auth: missing key data: give priv-key".to_owned());
    }
    let ttl = match get("ttl") {
        None => JWT_TTL,
        Some(text) => duration::parse(text)
            .and_then(|ns| u64::try_from(ns).ok())
            .filter(|ns| *ns > 0)
            .map(Duration::from_nanos)
            .ok_or_else(|| format!("ttl {text:?} is no duration above 0, such as 10m"))?,
    };
    Ok(JwtSettings {
        method,
        public_key: public_key.map(PathBuf::from),
        private_key: private_key.map(PathBuf::from),
        ttl,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn refusal(text: &str) -> String {
        read(text, MINUTE).unwrap_err()
    }

    #[test]
    fn etcds_options_are_read() {
        // Shows both kinds with their defaults, and that an unknown option is told, not refused.
        assert_eq!(read("simple", MINUTE), Ok((AuthToken::Simple { ttl: MINUTE }, vec![])));
        let (token, notes) =
            read("jwt,pub-key=p,priv-key=k,sign-method=PS384,ttl=10m,x=y", MINUTE).unwrap();
        let expected = JwtSettings {
            method: "PS384",
            public_key: Some("p".into()),
            private_key: Some("k".into()),
            ttl: 10 * MINUTE,
        };
        assert_eq!(token, AuthToken::Jwt(expected));
        assert_eq!(notes.len(), 1);
        let (token, _) = read("jwt,pub-key=p,sign-method=RS256", MINUTE).unwrap();
        assert!(matches!(token, AuthToken::Jwt(JwtSettings { ttl: JWT_TTL, .. })));
    }

    #[test]
    fn wrong_options_are_named() {
        // Shows each refusal with the word that is wrong.
        for (text, part) in [
            ("", "\"\" is neither"),
            ("opaque", "\"opaque\" is neither"),
            ("jwt", "sign-method is missing"),
            ("jwt,sign-method=none,priv-key=k", "sign-method none"),
            ("jwt,sign-method=ES512,priv-key=k", "sign-method ES512"),
            ("jwt,sign-method=RS256", "missing key data"),
            ("jwt,sign-method=HS256,pub-key=k", "missing key data"),
            ("jwt,sign-method=RS256,priv-key=k,ttl=soon", "ttl \"soon\""),
            ("jwt,sign-method=RS256,priv-key=k,ttl=0s", "ttl \"0s\""),
            ("jwt,sign-method", "\"sign-method\" is no name=value"),
            ("jwt,ttl=1m,ttl=2m", "ttl is given twice"),
        ] {
            assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
        }
    }
}
