//! AES-GCM with a random nonce before each ciphertext; the key of the document is authenticated with it, so that none can be
//! put in another's place.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes.
const NONCE: usize = 12;

pub(super) struct Key {
    pub(super) name: String,
    /// What its documents begin with.
    pub(super) mark: Vec<u8>,
    key: LessSafeKey,
    random: SystemRandom,
}

impl Key {
    /// `None` when the secret has another length than 16 or 32 bytes.
    pub(super) fn new(name: &str, secret: &[u8]) -> Option<Self> {
        let algorithm = match secret.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, secret).ok()?);
        let mark = format!("k8s:enc:aesgcm:v1:{name}:").into_bytes();
        Some(Self { name: name.to_owned(), mark, key, random: SystemRandom::new() })
    }

    pub(super) fn seal(&self, key: &str, document: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0; NONCE];
        self.random.fill(&mut nonce).map_err(|_| "the machine gives no random numbers".to_owned())?;
        let mut text = document.to_vec();
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_bytes()), &mut text);
        let tag = tag.map_err(|_| "it is too large".to_owned())?;
        Ok([&self.mark, &nonce[..], &text, tag.as_ref()].concat())
    }

    /// `sealed` is what stands behind the mark.
    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let wrong = || format!("it was not written with the key {:?} that the configuration has, or was changed", self.name);
        let (nonce, text) = sealed.split_first_chunk::<NONCE>().ok_or_else(wrong)?;
        let mut text = text.to_vec();
        let plain = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(key.as_bytes()), &mut text);
        let length = plain.map_err(|_| wrong())?.len();
        text.truncate(length);
        Ok(text)
    }
}
