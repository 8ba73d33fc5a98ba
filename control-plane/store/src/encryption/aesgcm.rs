//! AES-GCM with a random nonce before each ciphertext; the key of the document is authenticated with it, so that none can be
//! put in another's place.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::key::{Cipher, random};

/// Bytes.
const NONCE: usize = 12;

struct AesGcm(LessSafeKey);

/// `None` when the secret has another length than 16 or 32 bytes.
pub(super) fn cipher(secret: &[u8]) -> Option<Box<dyn Cipher>> {
    let algorithm = match secret.len() {
        16 => &AES_128_GCM,
        32 => &AES_256_GCM,
        _ => return None,
    };
    Some(Box::new(AesGcm(LessSafeKey::new(UnboundKey::new(algorithm, secret).ok()?))))
}

impl Cipher for AesGcm {
    fn seal(&self, key: &str, document: &[u8]) -> Result<Vec<u8>, String> {
        let nonce = random::<NONCE>()?;
        let mut text = document.to_vec();
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_bytes()), &mut text);
        let tag = tag.map_err(|_| "it is too large".to_owned())?;
        Ok([&nonce[..], &text, tag.as_ref()].concat())
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
        let mut text = text.to_vec();
        let plain = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(key.as_bytes()), &mut text);
        let length = plain.ok()?.len();
        text.truncate(length);
        Some(text)
    }
}
