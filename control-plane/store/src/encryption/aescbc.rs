//! AES-CBC with a random initialization vector before each ciphertext and PKCS #7 padding. Nothing authenticates what is
//! written: who can change the files can change documents, and put one in another's place.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use cbc::{Decryptor, Encryptor};

use super::key::{Cipher, random};

/// Bytes of a block, and of the initialization vector.
const BLOCK: usize = 16;

struct AesCbc {
    /// Of 16, 24 or 32 bytes.
    secret: Vec<u8>,
}

/// `None` when the secret has another length than 16, 24 or 32 bytes.
pub(super) fn cipher(secret: &[u8]) -> Option<Box<dyn Cipher>> {
    matches!(secret.len(), 16 | 24 | 32).then(|| Box::new(AesCbc { secret: secret.to_vec() }) as Box<dyn Cipher>)
}

impl AesCbc {
    /// `None` only for a secret of another length.
    fn encrypt(&self, start: &[u8; BLOCK], text: &[u8]) -> Option<Vec<u8>> {
        Some(match self.secret.len() {
            16 => Encryptor::<Aes128>::new_from_slices(&self.secret, start).ok()?.encrypt_padded_vec_mut::<Pkcs7>(text),
            24 => Encryptor::<Aes192>::new_from_slices(&self.secret, start).ok()?.encrypt_padded_vec_mut::<Pkcs7>(text),
            _ => Encryptor::<Aes256>::new_from_slices(&self.secret, start).ok()?.encrypt_padded_vec_mut::<Pkcs7>(text),
        })
    }

    fn decrypt(&self, start: &[u8; BLOCK], text: &[u8]) -> Option<Vec<u8>> {
        match self.secret.len() {
            16 => Decryptor::<Aes128>::new_from_slices(&self.secret, start).ok()?.decrypt_padded_vec_mut::<Pkcs7>(text).ok(),
            24 => Decryptor::<Aes192>::new_from_slices(&self.secret, start).ok()?.decrypt_padded_vec_mut::<Pkcs7>(text).ok(),
            _ => Decryptor::<Aes256>::new_from_slices(&self.secret, start).ok()?.decrypt_padded_vec_mut::<Pkcs7>(text).ok(),
        }
    }
}

impl Cipher for AesCbc {
    fn seal(&self, _key: &str, document: &[u8]) -> Result<Vec<u8>, String> {
        let start = random::<BLOCK>()?;
        let text = self.encrypt(&start, document).ok_or_else(|| "the key has no length of AES".to_owned())?;
        Ok([&start[..], &text].concat())
    }

    fn open(&self, _key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (start, text) = sealed.split_first_chunk::<BLOCK>()?;
        self.decrypt(start, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
    }

    /// NIST SP 800-38A, appendix F.2.1, F.2.3 and F.2.5: the first block; a block of padding follows.
    #[test]
    fn the_first_block_is_as_the_standard_has_it() {
        let start: [u8; BLOCK] = std::array::from_fn(|place| u8::try_from(place).expect("is small"));
        let text = bytes("6bc1bee22e409f96e93d7e117393172a");
        for (secret, wanted) in [
            ("2b7e151628aed2a6abf7158809cf4f3c", "7649abac8119b246cee98e9b12e9197d"),
            ("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "4f021db243bc633d7178183a9fa071e8"),
            ("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", "f58c4c04d6e5f1ba779eabfb5f7bfbd6"),
        ] {
            let cipher = AesCbc { secret: bytes(secret) };
            let sealed = cipher.encrypt(&start, &text).expect("encrypts");
            assert_eq!((&sealed[..BLOCK], sealed.len()), (&bytes(wanted)[..], 2 * BLOCK));
            assert_eq!(cipher.decrypt(&start, &sealed), Some(text.clone()));
        }
    }
}
