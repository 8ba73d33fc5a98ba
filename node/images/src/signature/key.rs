//! Keys: ECDSA over P-256 with SHA-256, which is what cosign makes; in PEM.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::digest::Digest;

/// What stands before the point in the SubjectPublicKeyInfo of an uncompressed key over P-256 (RFC 5480).
const PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of the point: a mark and two numbers.
const POINT: usize = 65;
const LINE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no public key in PEM (BEGIN PUBLIC KEY) is in it")]
    NoPublicKey,
    #[error("a public key in it is not ECDSA over P-256")]
    NotP256,
    #[error("no private key in PKCS #8 that is not encrypted (BEGIN PRIVATE KEY) is in it")]
    NoPrivateKey,
    #[error("the private key is not ECDSA over P-256 in PKCS #8: {0}")]
    Rejected(String),
    #[error("the machine has no random numbers")]
    Random,
}

/// By which images are known.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: [u8; POINT],
}

impl PublicKey {
    /// All that stand in a text.
    ///
    /// # Errors
    /// When there is none, or one of another kind.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, KeyError> {
        let found = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
        let keys = found.map(|key| Self::from_der(&key.map_err(|_| KeyError::NoPublicKey)?)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyError::NoPublicKey) } else { Ok(keys) }
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let point = der.strip_prefix(&PREFIX).ok_or(KeyError::NotP256)?;
        Ok(Self { point: point.try_into().map_err(|_| KeyError::NotP256)? })
    }

    fn der(&self) -> Vec<u8> {
        [&PREFIX[..], &self.point].concat()
    }

    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &self.der())
    }

    /// The digest of the key's SubjectPublicKeyInfo (`sha256:…`).
    pub fn id(&self) -> String {
        Digest::of(&self.der()).to_string()
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.id()).finish()
    }
}

/// With which images are signed.
pub struct SigningKey(EcdsaKeyPair);

impl SigningKey {
    /// A new one, and its text, which is not encrypted.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn generate() -> Result<(Self, String), KeyError> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| KeyError::Random)?;
        Ok((Self::from_der(made.as_ref())?, pem("PRIVATE KEY", made.as_ref())))
    }

    /// # Errors
    /// When it holds no such key, or an encrypted one.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::NoPrivateKey)?;
        Self::from_der(key.secret_pkcs8_der())
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &SystemRandom::new());
        key.map(Self).map_err(|error| KeyError::Rejected(error.to_string()))
    }

    pub fn public(&self) -> PublicKey {
        let mut point = [0; POINT];
        // A key over P-256 has a point of just this size.
        point.copy_from_slice(self.0.public_key().as_ref());
        PublicKey { point }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| KeyError::Random)?;
        Ok(signature.as_ref().to_vec())
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let (key, text) = SigningKey::generate().unwrap();
        assert_eq!(SigningKey::from_pem(&text).unwrap().public(), key.public());
        let public = key.public().to_pem();
        assert!(public.lines().all(|line| line.len() <= LINE));
        let two = format!("of the team:\n{public}{}", SigningKey::generate().unwrap().0.public().to_pem());
        let read = PublicKey::all_from_pem(&two).unwrap();
        assert_eq!((read.len(), &read[0]), (2, &key.public()));
    }

    #[test]
    fn what_is_no_key_of_ours_is_told_apart() {
        let (_, text) = SigningKey::generate().unwrap();
        let private = |text: &str| SigningKey::from_pem(text).err().expect("is refused").to_string();
        assert!(private(&text.replace("PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY")).contains("not encrypted"));
        assert!(private("").contains("no private key"));
        assert!(private(&pem("PRIVATE KEY", b"key")).contains("not ECDSA over P-256"));
        assert!(matches!(PublicKey::all_from_pem(&text), Err(KeyError::NoPublicKey)));
        assert!(matches!(PublicKey::all_from_pem(&pem("PUBLIC KEY", &PREFIX)), Err(KeyError::NotP256)));
    }
}
