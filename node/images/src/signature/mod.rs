//! Signatures of images as cosign makes them with a key. Older versions put an artifact beside the image, under the tag
//! `sha256-<hex>.sig`, or one that refers to it, whose layers are payloads
//! (`application/vnd.dev.cosign.simplesigning.v1+json`), each with its signature as an annotation. Newer ones (from 3 on) make
//! artifacts that refer to the image and hold a bundle (`application/vnd.dev.sigstore.bundle.v0.3+json`).

mod bundle;
mod key;
mod payload;
mod registry;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

pub use key::{KeyError, PublicKey, SigningKey};
pub use registry::push_signature;

/// A payload and its signature, as they were found; nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// JSON.
    payload: String,
    /// DER (RFC 3279), in base64.
    signature: String,
    #[serde(default)]
    form: Form,
}

/// What a payload is, and so what exactly is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Form {
    /// "Simple signing": the payload itself.
    #[default]
    Simple,
    /// A statement of in-toto in an envelope (DSSE).
    Statement,
}

/// Why an image counts as not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// There is no signature.
    Missing,
    /// There are so many, and none is by a known key.
    Unknown { found: usize },
    /// A known key signed something else.
    Other { why: String },
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("it is not signed: no tag sha256-….sig beside it, and nothing that refers to it, is a signature")
            }
            Self::Unknown { found: 1 } => f.write_str("its signature is by none of the keys that are trusted"),
            Self::Unknown { found } => write!(f, "none of its {found} signatures is by a key that is trusted"),
            Self::Other { why } => write!(f, "its signature is not for it: {why}"),
        }
    }
}

impl Signed {
    fn new(payload: String, key: &SigningKey) -> Result<Self, KeyError> {
        let signature = STANDARD.encode(key.sign(payload.as_bytes())?);
        Ok(Self { payload, signature, form: Form::Simple })
    }

    fn is_by(&self, key: &PublicKey) -> bool {
        let Ok(signature) = STANDARD.decode(&self.signature) else { return false };
        match self.form {
            Form::Simple => key.has_signed(self.payload.as_bytes(), &signature),
            Form::Statement => key.has_signed(&bundle::signed_bytes(&self.payload), &signature),
        }
    }

    /// # Errors
    /// When it is for something else than the image with this digest.
    fn check(&self, digest: &str) -> Result<(), String> {
        match self.form {
            Form::Simple => payload::check(&self.payload, digest),
            Form::Statement => bundle::check(&self.payload, digest),
        }
    }
}

/// The key that signed the image with this digest (`sha256:…`, of its manifest).
///
/// # Errors
/// When none of them did.
pub fn verify<'a>(signed: &[Signed], digest: &str, keys: &'a [PublicKey]) -> Result<&'a PublicKey, Unverified> {
    let mut wrong = None;
    for one in signed {
        let Some(key) = keys.iter().find(|key| one.is_by(key)) else { continue };
        match one.check(digest) {
            Ok(()) => return Ok(key),
            Err(why) => wrong = Some(why),
        }
    }
    Err(match wrong {
        Some(why) => Unverified::Other { why },
        None if signed.is_empty() => Unverified::Missing,
        None => Unverified::Unknown { found: signed.len() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn signed(key: &SigningKey, digest: &str) -> Signed {
        Signed::new(payload::of("registry.example.com/a", digest), key).unwrap()
    }

    #[test]
    fn an_image_is_signed_when_a_known_key_signed_its_digest() {
        let (known, other) = (SigningKey::generate().unwrap().0, SigningKey::generate().unwrap().0);
        let keys = [known.public()];
        let verify = |signed: &[Signed]| verify(signed, DIGEST, &keys).map(PublicKey::id);
        assert_eq!(verify(&[signed(&other, DIGEST), signed(&known, DIGEST)]), Ok(known.public().id()));
        assert_eq!(verify(&[]), Err(Unverified::Missing));
        let said = Unverified::Missing.to_string();
        assert!(said.contains("sha256-….sig") && said.contains("refers to it"), "{said}");
        assert_eq!(verify(&[signed(&other, DIGEST)]), Err(Unverified::Unknown { found: 1 }));
        let elsewhere = DIGEST.replace("0123", "4567");
        assert!(matches!(verify(&[signed(&known, &elsewhere)]), Err(Unverified::Other { why }) if why.contains(&elsewhere)));
    }

    #[test]
    fn a_statement_counts_as_a_payload_does_and_neither_for_the_other() {
        let (key, _) = SigningKey::generate().unwrap();
        let keys = [key.public()];
        let signature = |bytes: &[u8]| STANDARD.encode(key.sign(bytes).unwrap());
        let statement = |digest: &str| {
            let payload = bundle::statement(digest);
            let signature = signature(&bundle::signed_bytes(&payload));
            Signed { payload, signature, form: Form::Statement }
        };
        assert!(verify(&[statement(DIGEST)], DIGEST, &keys).is_ok());
        let elsewhere = statement(&DIGEST.replace("0123", "4567"));
        assert!(matches!(verify(&[elsewhere], DIGEST, &keys), Err(Unverified::Other { .. })));
        let bare = Signed { signature: signature(bundle::statement(DIGEST).as_bytes()), ..statement(DIGEST) };
        assert_eq!(verify(&[bare], DIGEST, &keys), Err(Unverified::Unknown { found: 1 }), "without its envelope");
        let disguised = Signed { form: Form::Statement, ..signed(&key, DIGEST) };
        assert_eq!(verify(&[disguised], DIGEST, &keys), Err(Unverified::Unknown { found: 1 }));
    }

    #[test]
    fn a_payload_that_was_altered_is_not_signed() {
        let (key, _) = SigningKey::generate().unwrap();
        let mut altered = signed(&key, &DIGEST.replace("0123", "4567"));
        altered.payload = altered.payload.replace("4567", "0123");
        assert_eq!(verify(&[altered], DIGEST, &[key.public()]), Err(Unverified::Unknown { found: 1 }));
        let mut garbled = signed(&key, DIGEST);
        garbled.signature.insert(0, '!');
        assert_eq!(verify(&[garbled], DIGEST, &[key.public()]), Err(Unverified::Unknown { found: 1 }));
    }
}
