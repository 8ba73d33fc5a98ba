//! Header blocks: one zlib stream for each direction of a connection, flushed after each block.

use bytes::{Buf as _, BufMut as _, BytesMut};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, TINFL_LZ_DICT_SIZE, decompress, inflate_flags};

use super::dictionary;
use super::frame::FrameError;

/// One block's size when decompressed, at most.
const MAX_BLOCK: usize = 32 * 1024;
/// zlib's header says with this bit that a dictionary's checksum follows (RFC 1950).
const HAS_DICTIONARY: u8 = 0x20;

/// Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(super) Vec<(String, String)>);

impl Headers {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The receiving side.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    /// The last 32 KiB, written around and around; what compressed data refers back to.
    window: Box<[u8]>,
    position: usize,
    /// zlib's own header, until all of it is there.
    prologue: Option<Vec<u8>>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            state: Box::default(),
            window: vec![0; TINFL_LZ_DICT_SIZE].into(),
            position: 0,
            prologue: Some(Vec::with_capacity(6)),
        }
    }

    /// Decompresses one block. After an error nothing that follows can be read.
    pub(super) fn block(&mut self, mut input: &[u8]) -> Result<Headers, FrameError> {
        if !self.is_begun(&mut input)? {
            return Err(FrameError::Compression);
        }
        let mut block = Vec::new();
        loop {
            let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT | inflate_flags::TINFL_FLAG_IGNORE_ADLER32;
            let (status, read, written) = decompress(&mut self.state, input, &mut self.window, self.position, flags);
            let end = self.position + written;
            block.extend_from_slice(self.window.get(self.position..end).unwrap_or_default());
            self.position = end % TINFL_LZ_DICT_SIZE;
            input = input.get(read..).unwrap_or_default();
            if block.len() > MAX_BLOCK {
                return Err(FrameError::HeadersTooLarge);
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => return parse(&block),
                _ => return Err(FrameError::Compression),
            }
        }
    }

    /// Takes zlib's header off the first block.
    fn is_begun(&mut self, input: &mut &[u8]) -> Result<bool, FrameError> {
        let Some(prologue) = &mut self.prologue else { return Ok(true) };
        while let [first, rest @ ..] = input {
            prologue.push(*first);
            *input = rest;
            match prologue.as_slice() {
                [_] => {}
                [method, flags] => {
                    let is_zlib = method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0;
                    if !is_zlib {
                        return Err(FrameError::Compression);
                    }
                    if flags & HAS_DICTIONARY == 0 {
                        self.prologue = None;
                        return Ok(true);
                    }
                }
                [_, _, checksum @ ..] if checksum.len() == 4 => {
                    if *checksum != dictionary::ADLER32.to_be_bytes() {
                        return Err(FrameError::Compression);
                    }
                    let dictionary = dictionary::bytes();
                    self.window[..dictionary.len()].copy_from_slice(&dictionary);
                    self.position = dictionary.len();
                    self.prologue = None;
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, FrameError> {
    fn number(block: &mut &[u8]) -> Result<usize, FrameError> {
        let number = block.try_get_u32().map_err(|_| FrameError::Headers)?;
        usize::try_from(number).map_err(|_| FrameError::Headers)
    }
    fn text(block: &mut &[u8]) -> Result<String, FrameError> {
        let length = number(block)?;
        let (text, rest) = block.split_at_checked(length).ok_or(FrameError::Headers)?;
        *block = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }
    let count = number(&mut block)?;
    let mut headers = Headers::default();
    // Each takes eight bytes at least: a count that lies ends soon.
    for _ in 0..count {
        let name = text(&mut block)?;
        headers.0.push((name.to_ascii_lowercase(), text(&mut block)?));
    }
    if block.is_empty() { Ok(headers) } else { Err(FrameError::Headers) }
}

/// The sending side. Blocks are stored, not compressed: a reply has no headers worth it, and there is no state to keep.
#[derive(Default)]
pub(super) struct Deflater {
    is_begun: bool,
}

impl Deflater {
    /// Writes a block without any header.
    pub(super) fn empty_block(&mut self, into: &mut BytesMut) {
        if !std::mem::replace(&mut self.is_begun, true) {
            into.put_slice(&[0x78, 0x01]);
        }
        // A stored block of four bytes, then the empty one that stands for a flush (RFC 1951, section 3.2.4).
        into.put_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        into.put_slice(&[0, 0, 0, 0xff, 0xff]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By zlib with the dictionary, level 9, a sync flush after each block.
    const FIRST: &str = "78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc64610024398b209198094adc8c0600000000ffff";
    const SECOND: &str = "c2aa15540a2512d209000000ffff";

    fn block(inflater: &mut Inflater, hex: &str) -> Headers {
        inflater.block(&hex::decode(hex).expect("is hex")).expect("decompresses")
    }

    #[test]
    fn blocks_of_a_compressing_client_refer_to_the_dictionary_and_to_each_other() {
        let mut inflater = Inflater::new();
        let first = block(&mut inflater, FIRST);
        assert_eq!((first.get("streamtype"), first.get("port"), first.get("requestid")), (Some("error"), Some("80"), Some("0")));
        let second = block(&mut inflater, SECOND);
        assert_eq!((second.get("streamtype"), second.get("port")), (Some("data"), Some("80")));
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::new());
        for _ in 0..3 {
            let mut bytes = BytesMut::new();
            deflater.empty_block(&mut bytes);
            assert_eq!(inflater.block(&bytes).expect("decompresses"), Headers::default());
        }
    }

    #[test]
    fn a_block_that_unpacks_without_end_is_refused() {
        let mut packed = vec![0x78, 0x9c];
        packed.extend(miniz_oxide::deflate::compress_to_vec(&vec![0; 1 << 24], 9));
        assert!(matches!(Inflater::new().block(&packed), Err(FrameError::HeadersTooLarge)));
    }
}
