//! XSalsa20 and Poly1305 as NaCl's `secretbox` puts them together: a random nonce, the tag, the ciphertext.

use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::{AeadInPlace as _, KeyInit as _};

use super::key::{Cipher, random};

/// Bytes.
const NONCE: usize = 24;
const TAG: usize = 16;

struct SecretBox(XSalsa20Poly1305);

/// `None` when the secret has another length than 32 bytes.
pub(super) fn cipher(secret: &[u8]) -> Option<Box<dyn Cipher>> {
    Some(Box::new(SecretBox(XSalsa20Poly1305::new_from_slice(secret).ok()?)))
}

impl SecretBox {
    fn seal_with(&self, nonce: &[u8; NONCE], document: &[u8]) -> Result<Vec<u8>, String> {
        let mut text = document.to_vec();
        let tag = self.0.encrypt_in_place_detached(nonce.into(), b"", &mut text).map_err(|_| "it is too large".to_owned())?;
        Ok([&nonce[..], &tag[..], &text].concat())
    }
}

impl Cipher for SecretBox {
    /// Nothing but the document is authenticated: `secretbox` knows no more.
    fn seal(&self, _key: &str, document: &[u8]) -> Result<Vec<u8>, String> {
        self.seal_with(&random()?, document)
    }

    fn open(&self, _key: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let (tag, text) = rest.split_first_chunk::<TAG>()?;
        let mut text = text.to_vec();
        self.0.decrypt_in_place_detached(nonce.into(), b"", &mut text, tag.into()).ok()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
    }

    /// The vector of NaCl's own tests ("Cryptography in NaCl", section 10).
    #[test]
    fn a_box_is_as_nacl_has_it() {
        let secret = bytes("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
        let nonce: [u8; NONCE] =
            bytes("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").try_into().expect("has the length of a nonce");
        let text = bytes(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4\
             1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52\
             f0a089bc76897040e082f937763848645e0705",
        );
        let wanted = bytes(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b\
             4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da\
             99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
        );
        let cipher = SecretBox(XSalsa20Poly1305::new_from_slice(&secret).expect("has the length of a key"));
        let sealed = cipher.seal_with(&nonce, &text).expect("seals");
        assert_eq!(sealed, [&nonce[..], &wanted].concat());
        assert_eq!(cipher.open("", &sealed), Some(text));
    }
}
