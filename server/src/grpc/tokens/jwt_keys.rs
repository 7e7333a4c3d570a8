//! Keys of JSON web tokens, out of files as etcd takes them.

use std::path::Path;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::signature::KeyPair;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::jwt_crypto::{ec_pair, ed_pair, rsa_pair};
use crate::config::JwtSettings;

type Keys = (Option<EncodingKey>, DecodingKey);

/// The key to sign with, if it was given, and the one to check with.
///
/// # Errors
/// One line that names the file: it cannot be read, holds no key or none for `algorithm`; or the
/// two do not belong together, in etcd's words.
pub(super) fn read(algorithm: Algorithm, settings: &JwtSettings) -> Result<Keys, String> {
    let private = settings.private_key.as_deref();
    if algorithm.family() == AlgorithmFamily::Hmac {
        let path = private.ok_or_else(missing)?;
        let secret = read_file(path)?;
        if secret.is_empty() {
            return Err(at(path, missing()));
        }
        let signing = EncodingKey::from_secret(&secret);
        return Ok((Some(signing), DecodingKey::from_secret(&secret)));
    }
    let public = settings.public_key.as_deref().map(public_half).transpose()?;
    let Some(path) = private else {
        return Ok((None, checking(algorithm, &public.ok_or_else(missing)?)));
    };
    let der = private_der(path, algorithm)?;
    let derived = public_half_of(algorithm, &der).map_err(|error| at(path, error))?;
    if public.is_some_and(|public| public != derived) {
        return Err("auth: public and private keys don't match".to_owned());
    }
    Ok((Some(signing(algorithm, &der)), checking(algorithm, &derived)))
}

fn signing(algorithm: Algorithm, der: &[u8]) -> EncodingKey {
    match algorithm.family() {
        AlgorithmFamily::Hmac => EncodingKey::from_secret(der),
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_der(der),
        AlgorithmFamily::Ec => EncodingKey::from_ec_der(der),
        AlgorithmFamily::Ed => EncodingKey::from_ed_der(der),
    }
}

fn checking(algorithm: Algorithm, public: &[u8]) -> DecodingKey {
    match algorithm.family() {
        AlgorithmFamily::Hmac => DecodingKey::from_secret(public),
        AlgorithmFamily::Rsa => DecodingKey::from_rsa_der(public),
        AlgorithmFamily::Ec => DecodingKey::from_ec_der(public),
        AlgorithmFamily::Ed => DecodingKey::from_ed_der(public),
    }
}

/// The public half, as ring wants it.
fn public_half_of(algorithm: Algorithm, der: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = |error| format!("not a private key for {algorithm:?}: {error}");
    Ok(match algorithm.family() {
        AlgorithmFamily::Rsa => rsa_pair(der).map_err(wrong)?.public().as_ref().to_vec(),
        AlgorithmFamily::Ed => ed_pair(der).map_err(wrong)?.public_key().as_ref().to_vec(),
        _ => ec_pair(algorithm, der).map_err(wrong)?.public_key().as_ref().to_vec(),
    })
}

/// PKCS#8, or for RSA PKCS#1 as well.
fn private_der(path: &Path, algorithm: Algorithm) -> Result<Vec<u8>, String> {
    let pem = read_file(path)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(PrivateKeyDer::Sec1(key)) => Ok(pkcs8_of_sec1(key.secret_sec1_der(), algorithm)),
        Ok(key) => Ok(key.secret_der().to_vec()),
        Err(error) => Err(at(path, error)),
    }
}

/// The public half out of a public key or a certificate, as ring wants it.
fn public_half(path: &Path) -> Result<Vec<u8>, String> {
    let pem = read_file(path)?;
    let none = |_| at(path, "no public key and no certificate in this file");
    if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(&pem) {
        let (_, key) = SubjectPublicKeyInfo::from_der(&key).map_err(none)?;
        return Ok(key.subject_public_key.data.to_vec());
    }
    let der = CertificateDer::from_pem_slice(&pem)
        .map_err(|_| at(path, "no public key and no certificate in this file"))?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(none)?;
    Ok(certificate.public_key().subject_public_key.data.to_vec())
}

/// Puts openssl's older form of a key on a curve (RFC 5915) into the one that ring reads
/// (RFC 5208).
fn pkcs8_of_sec1(key: &[u8], algorithm: Algorithm) -> Vec<u8> {
    // SEQUENCE { OID id-ecPublicKey, OID of the curve }
    const P256: &[u8] =
        b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    const VERSION: &[u8] = b"\x02\x01\x00";
    let curve = if algorithm == Algorithm::ES384 { P384 } else { P256 };
    let key = tagged(0x04, key);
    tagged(0x30, &[VERSION, curve, &key].concat())
}

/// DER: tag, length, content. A key on a curve is far below 64 KiB.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, 0..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| at(path, error))
}

fn missing() -> String {
    "auth: missing key data".to_owned()
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("--auth-token: {}: {error}", path.display())
}
