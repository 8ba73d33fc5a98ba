//! Documents as they are kept: a twentieth of their size.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

pub(super) struct Packed {
    length: usize,
    packed: Box<[u8]>,
}

impl Packed {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing into a Vec cannot fail.
        let _ = encoder.write_all(bytes);
        Self { length: bytes.len(), packed: encoder.finish().unwrap_or_default().into() }
    }

    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.length);
        // What was packed here can be unpacked.
        let _ = GzDecoder::new(&*self.packed).read_to_end(&mut bytes);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_given() {
        let text = "operations are much alike ".repeat(1000);
        let packed = Packed::new(text.as_bytes());
        assert_eq!(packed.bytes(), text.as_bytes());
        assert!(packed.packed.len() < text.len() / 20);
    }
}
