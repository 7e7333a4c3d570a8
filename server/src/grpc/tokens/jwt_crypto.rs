//! The cryptography of JSON web tokens by ring, which TLS uses already. The library brings two
//! others: one that needs cmake, and one whose RSA leaks its timing.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::Result;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{self as algorithms, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use ring::{error, hmac};
use signature::{Error, Signer, Verifier};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Signing(*algorithm, key.clone()))),
    verifier_factory: |algorithm, key| checking(*algorithm, key),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring the library's cryptography, in this process and for good.
pub(super) fn install() {
    // A second call finds it there.
    let _ = RING.install_default();
}

struct Signing(Algorithm, EncodingKey);

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        sign(self.0, self.1.as_bytes(), message).map_err(|_| Error::new())
    }
}

struct Checking(Algorithm, Vec<u8>);

fn checking(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Checking(algorithm, key.try_get_as_bytes()?.to_vec())))
}

impl JwtVerifier for Checking {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

impl Verifier<Vec<u8>> for Checking {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        check(self.0, &self.1, message, signature).map_err(|_| Error::new())
    }
}

fn sign(
    algorithm: Algorithm,
    key: &[u8],
    message: &[u8],
) -> std::result::Result<Vec<u8>, error::Unspecified> {
    let random = SystemRandom::new();
    let rejected = |_: error::KeyRejected| error::Unspecified;
    if let Some(hash) = hmac_of(algorithm) {
        return Ok(hmac::sign(&hmac::Key::new(hash, key), message).as_ref().to_vec());
    }
    if let Some((_, encoding)) = rsa_of(algorithm) {
        let pair = rsa_pair(key).map_err(rejected)?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &random, message, &mut signature)?;
        return Ok(signature);
    }
    if algorithm == Algorithm::EdDSA {
        return Ok(ed_pair(key).map_err(rejected)?.sign(message).as_ref().to_vec());
    }
    let pair = ec_pair(algorithm, key).map_err(rejected)?;
    Ok(pair.sign(&random, message)?.as_ref().to_vec())
}

fn check(
    algorithm: Algorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> std::result::Result<(), error::Unspecified> {
    if let Some(hash) = hmac_of(algorithm) {
        return hmac::verify(&hmac::Key::new(hash, key), message, signature);
    }
    let how: &dyn algorithms::VerificationAlgorithm = match (rsa_of(algorithm), algorithm) {
        (Some((how, _)), _) => how,
        (None, Algorithm::ES256) => &algorithms::ECDSA_P256_SHA256_FIXED,
        (None, Algorithm::ES384) => &algorithms::ECDSA_P384_SHA384_FIXED,
        (None, Algorithm::EdDSA) => &algorithms::ED25519,
        (None, _) => return Err(error::Unspecified),
    };
    algorithms::UnparsedPublicKey::new(how, key).verify(message, signature)
}

fn hmac_of(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

type Rsa = (&'static dyn algorithms::VerificationAlgorithm, &'static dyn algorithms::RsaEncoding);

fn rsa_of(algorithm: Algorithm) -> Option<Rsa> {
    match algorithm {
        Algorithm::RS256 => {
            Some((&algorithms::RSA_PKCS1_2048_8192_SHA256, &algorithms::RSA_PKCS1_SHA256))
        }
        Algorithm::RS384 => {
            Some((&algorithms::RSA_PKCS1_2048_8192_SHA384, &algorithms::RSA_PKCS1_SHA384))
        }
        Algorithm::RS512 => {
            Some((&algorithms::RSA_PKCS1_2048_8192_SHA512, &algorithms::RSA_PKCS1_SHA512))
        }
        Algorithm::PS256 => {
            Some((&algorithms::RSA_PSS_2048_8192_SHA256, &algorithms::RSA_PSS_SHA256))
        }
        Algorithm::PS384 => {
            Some((&algorithms::RSA_PSS_2048_8192_SHA384, &algorithms::RSA_PSS_SHA384))
        }
        Algorithm::PS512 => {
            Some((&algorithms::RSA_PSS_2048_8192_SHA512, &algorithms::RSA_PSS_SHA512))
        }
        _ => None,
    }
}

/// From PKCS#8 or PKCS#1, at least 2048 bits.
pub(super) fn rsa_pair(key: &[u8]) -> std::result::Result<RsaKeyPair, error::KeyRejected> {
    RsaKeyPair::from_pkcs8(key).or_else(|_| RsaKeyPair::from_der(key))
}

/// From PKCS#8, with or without the public half.
pub(super) fn ed_pair(key: &[u8]) -> std::result::Result<Ed25519KeyPair, error::KeyRejected> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(key)
}

/// From PKCS#8, on the curve that belongs to `algorithm`.
pub(super) fn ec_pair(
    algorithm: Algorithm,
    key: &[u8],
) -> std::result::Result<EcdsaKeyPair, error::KeyRejected> {
    let curve = match algorithm {
        Algorithm::ES384 => &algorithms::ECDSA_P384_SHA384_FIXED_SIGNING,
        _ => &algorithms::ECDSA_P256_SHA256_FIXED_SIGNING,
    };
    EcdsaKeyPair::from_pkcs8(curve, key, &SystemRandom::new())
}
