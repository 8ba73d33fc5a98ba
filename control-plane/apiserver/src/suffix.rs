//! The ends of generated names.

use rand::Rng as _;

/// No vowels and no look-alikes, so that no word comes out.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// How long a suffix is.
pub(crate) const LENGTH: usize = 5;

/// Random characters, as Kubernetes appends them to `generateName`.
pub(crate) fn random() -> String {
    let mut rng = rand::rng();
    (0..LENGTH).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
