//! JSON web tokens: signed, so that nobody needs to remember them.
//!
//! A token says who, until when, and under which revision of auth. It cannot be taken back; after
//! any change of auth the state machine refuses it with etcd's `revision of auth store is old`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::berthpb::Principal;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::{jwt_crypto, jwt_keys};
use crate::config::JwtSettings;

/// This member has the public key alone.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::grpc) struct VerifyOnly;

pub(in crate::grpc) struct Jwt {
    header: Header,
    /// `None`: this member can check tokens and give none.
    signing: Option<EncodingKey>,
    checking: DecodingKey,
    validation: Validation,
    ttl: Duration,
}

/// etcd's claims.
#[derive(Serialize)]
struct Given<'a> {
    username: &'a str,
    revision: u64,
    /// Seconds since 1970.
    exp: u64,
}

/// `exp` is the library's to check.
#[derive(Deserialize)]
struct Shown {
    username: String,
    /// As in etcd, where JSON's numbers are floats.
    revision: f64,
}

impl Jwt {
    /// # Errors
    /// One line that names the key file that is missing or wrong.
    pub(super) fn open(settings: &JwtSettings) -> Result<Self, String> {
        jwt_crypto::install();
        let algorithm: Algorithm =
            settings.method.parse().map_err(|error| format!("{}: {error}", settings.method))?;
        let (signing, checking) = jwt_keys::read(algorithm, settings)?;
        let mut validation = Validation::new(algorithm);
        // A token is good until the second it names, and without a name for ever, as in etcd.
        validation.required_spec_claims.clear();
        validation.leeway = 0;
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let header = Header::new(algorithm);
        Ok(Self { header, signing, checking, validation, ttl: settings.ttl })
    }

    /// A token for `user` as they are at `auth_revision`.
    ///
    /// # Errors
    /// [`VerifyOnly`].
    pub(in crate::grpc) fn sign(
        &self,
        user: &str,
        auth_revision: u64,
    ) -> Result<String, VerifyOnly> {
        let key = self.signing.as_ref().ok_or(VerifyOnly)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let exp = (now + self.ttl).as_secs();
        let claims = Given { username: user, revision: auth_revision, exp };
        encode(&self.header, &claims, key).map_err(|error| {
            tracing::error!(%error, "a token could not be signed");
            VerifyOnly
        })
    }

    /// Whom the token was signed for, if it was signed by this key and its time is not up.
    pub(super) fn principal(&self, token: &str) -> Option<Principal> {
        let claims = match decode::<Shown>(token, &self.checking, &self.validation) {
            Ok(decoded) => decoded.claims,
            Err(error) => {
                tracing::warn!(%error, "a token is not good");
                return None;
            }
        };
        Some(Principal { user: claims.username, auth_revision: whole(claims.revision) })
    }
}

/// As Go converts, for all that a token can reasonably say.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "revisions are whole and above 0; anything else becomes an old revision"
)]
fn whole(revision: f64) -> u64 {
    revision as u64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn settings(method: &'static str, dir: &Path) -> JwtSettings {
        let private_key = match method {
            "ES256" => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem(),
            "ES384" => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem(),
            "EdDSA" => KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem(),
            _ => "a secret\n".to_owned(),
        };
        JwtSettings {
            method,
            public_key: None,
            private_key: Some(write(dir, "private", private_key)),
            ttl: Duration::from_secs(60),
        }
    }

    const METHODS: [&str; 6] = ["ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"];

    #[test]
    fn what_is_signed_is_believed_and_nothing_else() {
        // Shows for each method that user and revision come back, and that a token with one letter
        // changed, one of another key, and one that names another method are refused.
        let dir = tempfile::tempdir().unwrap();
        for method in METHODS {
            let jwt = Jwt::open(&settings(method, dir.path())).unwrap();
            let token = jwt.sign("ann", 7).unwrap();
            let principal = jwt.principal(&token).unwrap();
            assert_eq!((principal.user.as_str(), principal.auth_revision), ("ann", 7), "{method}");
            let claims = token.find('.').unwrap() + 5;
            let mut forged = token.clone().into_bytes();
            forged[claims] = if forged[claims] == b'A' { b'B' } else { b'A' };
            assert!(jwt.principal(&String::from_utf8(forged).unwrap()).is_none(), "{method}");
            std::fs::write(dir.path().join("private"), "another secret").unwrap();
            let other_method = if method == "HS256" { "HS512" } else { "HS256" };
            let other = JwtSettings {
                method: other_method,
                private_key: Some(write(dir.path(), "other", "a secret\n")),
                ..settings("HS256", dir.path())
            };
            assert!(Jwt::open(&other).unwrap().principal(&token).is_none(), "{method}");
            let another_key = Jwt::open(&settings(method, dir.path())).unwrap();
            let same_secret = method.starts_with("HS");
            assert_eq!(another_key.principal(&token).is_some(), same_secret, "{method}");
        }
        let jwt = Jwt::open(&settings("HS256", dir.path())).unwrap();
        for nonsense in ["", ".", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert!(jwt.principal(nonsense).is_none(), "{nonsense:?}");
        }
    }

    #[test]
    fn time_ends_a_token() {
        // Shows that a token whose time is up is refused, and that etcd's claims alone are needed.
        let dir = tempfile::tempdir().unwrap();
        let mut jwt = Jwt::open(&settings("HS256", dir.path())).unwrap();
        jwt.ttl = Duration::ZERO;
        assert!(jwt.principal(&jwt.sign("ann", 1).unwrap()).is_none());
        let key = jwt.signing.as_ref().unwrap();
        let of = |claims: serde_json::Value| encode(&jwt.header, &claims, key).unwrap();
        let unlimited = of(serde_json::json!({"username": "ann", "revision": 3.0}));
        assert_eq!(jwt.principal(&unlimited).unwrap().auth_revision, 3);
        for claims in [
            serde_json::json!({"username": "ann"}),
            serde_json::json!({"revision": 1}),
            serde_json::json!({"username": 1, "revision": 1}),
            serde_json::json!({"username": "ann", "revision": "1"}),
            serde_json::json!({"username": "ann", "revision": 1, "exp": "never"}),
            serde_json::json!({"username": "ann", "revision": 1, "nbf": 99_999_999_999_u64}),
        ] {
            assert!(jwt.principal(&of(claims.clone())).is_none(), "{claims}");
        }
    }

    #[test]
    fn a_public_key_checks_and_cannot_sign() {
        // Shows a member with the public half alone, and the refusals: a pair that does not belong
        // together, a key of another kind, a file without any.
        let dir = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let private = write(dir.path(), "k", pair.serialize_pem());
        let public = write(dir.path(), "p", pair.public_key_pem());
        let both = JwtSettings {
            method: "ES256",
            public_key: Some(public),
            private_key: Some(private),
            ttl: Duration::from_secs(60),
        };
        let signer = Jwt::open(&both).unwrap();
        let checker = Jwt::open(&JwtSettings { private_key: None, ..both.clone() }).unwrap();
        let token = signer.sign("ann", 2).unwrap();
        assert_eq!(checker.principal(&token).unwrap().user, "ann");
        assert_eq!(checker.sign("ann", 2), Err(VerifyOnly));

        let refusal = |settings| Jwt::open(&settings).err().unwrap();
        let other = write(dir.path(), "o", KeyPair::generate().unwrap().public_key_pem());
        let mixed = JwtSettings { public_key: Some(other), ..both.clone() };
        assert_eq!(refusal(mixed), "auth: public and private keys don't match");
        let wrong = refusal(JwtSettings { method: "ES384", ..both.clone() });
        assert!(wrong.contains("not a private key for ES384"), "{wrong}");
        let empty = write(dir.path(), "empty", "");
        let none = refusal(JwtSettings { private_key: Some(empty.clone()), ..both.clone() });
        assert!(none.contains("empty"), "{none}");
        let none = refusal(JwtSettings { public_key: Some(empty), ..both });
        assert!(none.contains("no public key"), "{none}");
    }
}
