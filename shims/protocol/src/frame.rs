//! Frames: a big-endian `u32` length, a kind byte, and so many bytes less one of payload.
//!
//! Control frames carry one JSON message; the others carry the raw bytes of a stream, so that output is not encoded
//! twice. An empty stdin frame is the end of stdin.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest accepted frame, its kind byte included.
pub const MAX_FRAME: usize = 1 << 20;

const HEADER: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Control,
    Stdin,
    Stdout,
    Stderr,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Control => 0,
            Kind::Stdin => 1,
            Kind::Stdout => 2,
            Kind::Stderr => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Kind::Control),
            1 => Some(Kind::Stdin),
            2 => Some(Kind::Stdout),
            3 => Some(Kind::Stderr),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes, allowed are 1 to {MAX_FRAME}")]
    Length(usize),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a control frame that is not the expected message: {0}")]
    Message(#[from] serde_json::Error),
}

impl Frame {
    /// # Errors
    /// When the payload is no such message.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        Ok(serde_json::from_slice(&self.payload)?)
    }
}

/// Appends one frame to `out`; payloads longer than a frame may be become several.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let mut rest = payload;
    loop {
        let (part, more) = rest.split_at(rest.len().min(MAX_FRAME - 1));
        out.reserve(HEADER + part.len());
        // A part is shorter than MAX_FRAME, which fits.
        out.extend_from_slice(&(part.len() as u32 + 1).to_be_bytes());
        out.push(kind.byte());
        out.extend_from_slice(part);
        rest = more;
        if rest.is_empty() {
            return;
        }
    }
}

/// A control frame with one message.
///
/// # Errors
/// When the message cannot be written as JSON, or is longer than a frame.
pub fn control<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let json = serde_json::to_vec(message)?;
    if json.len() >= MAX_FRAME {
        return Err(FrameError::Length(json.len() + 1));
    }
    let mut out = Vec::new();
    encode(Kind::Control, &json, &mut out);
    Ok(out)
}

/// Cuts frames out of bytes as they arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// When the peer does not speak this protocol; the connection is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(FrameError::Length(length));
        }
        let kind = Kind::from_byte(header[4]).ok_or(FrameError::Kind(header[4]))?;
        let end = HEADER - 1 + length;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let payload = self.buffer[HEADER..end].to_vec();
        self.buffer.drain(..end);
        if self.buffer.is_empty() {
            // A shim waits for hours between two frames: give the memory back.
            self.buffer = Vec::new();
        }
        Ok(Some(Frame { kind, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        encode(Kind::Stdout, b"hello", &mut bytes);
        encode(Kind::Stdin, b"", &mut bytes);
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for byte in bytes {
            decoder.push(&[byte]);
            seen.extend(decoder.next_frame().unwrap());
        }
        assert_eq!(
            seen,
            [Frame { kind: Kind::Stdout, payload: b"hello".to_vec() }, Frame { kind: Kind::Stdin, payload: Vec::new() }]
        );
    }

    #[test]
    fn a_payload_longer_than_a_frame_is_split() {
        let mut bytes = Vec::new();
        encode(Kind::Stdout, &vec![7; MAX_FRAME + 10], &mut bytes);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        assert_eq!(decoder.next_frame().unwrap().unwrap().payload.len(), MAX_FRAME - 1);
        assert_eq!(decoder.next_frame().unwrap().unwrap().payload.len(), 11);
    }

    #[test]
    fn lengths_and_kinds_that_no_peer_sends_are_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 0, 0]);
        assert!(matches!(decoder.next_frame(), Err(FrameError::Length(0))));
        let mut decoder = Decoder::default();
        decoder.push(&[0xff, 0, 0, 0, 0]);
        assert!(matches!(decoder.next_frame(), Err(FrameError::Length(_))));
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 1, 9]);
        assert!(matches!(decoder.next_frame(), Err(FrameError::Kind(9))));
    }
}
