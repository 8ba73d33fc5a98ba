//! Frames of SPDY/3.1 (draft, section 2.2): control frames have their first bit set, data frames name a stream.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::headers::{Deflater, Headers, Inflater};

const VERSION: u16 = 3;
const HEAD: usize = 8;
/// A control frame's length, at most; headers are the largest of what it holds.
const MAX_CONTROL: usize = 16 * 1024;
const FIN: u8 = 0x01;
const UNIDIRECTIONAL: u8 = 0x02;
const STREAM_ID: u32 = 0x7fff_ffff;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FrameError {
    #[error("SPDY version {version} is not spoken")]
    Version { version: u16 },
    #[error("a control frame of {length} bytes is too large")]
    TooLarge { length: usize },
    #[error("a control frame of type {kind} is too short")]
    TooShort { kind: u16 },
    #[error("a header block cannot be decompressed")]
    Compression,
    #[error("a header block is too large")]
    HeadersTooLarge,
    #[error("a header block is malformed")]
    Headers,
}

/// Why a stream is reset (section 2.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResetStatus {
    ProtocolError = 1,
    RefusedStream = 3,
    Cancel = 5,
}

/// What the peer sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    SynStream {
        stream: u32,
        headers: Headers,
        fin: bool,
        unidirectional: bool,
    },
    Reset {
        stream: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// A part of a data frame as it came; the last has the frame's FIN.
    Data {
        stream: u32,
        data: Bytes,
        fin: bool,
    },
    /// HEADERS and SYN_REPLY end a stream like data does.
    Fin {
        stream: u32,
    },
    /// Settings, windows, and what this version does not know.
    Other,
}

/// What we send.
#[derive(Debug)]
pub(super) enum Outgoing {
    SynReply { stream: u32 },
    Reset { stream: u32, status: ResetStatus },
    Ping { id: u32 },
    GoAway { last_good_stream: u32 },
    Data { stream: u32, data: Bytes, fin: bool },
}

/// Takes frames off what came.
pub(super) struct Decoder {
    inflater: Inflater,
    /// The data frame that is under way, and how much of it is to come.
    data: Option<(u32, bool, usize)>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { inflater: Inflater::new(), data: None }
    }

    /// The next frame; `None` when more must come first.
    ///
    /// # Errors
    /// After one nothing that follows can be read.
    pub(super) fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Incoming>, FrameError> {
        if let Some((stream, fin, left)) = self.data.take() {
            return Ok(self.data(from, stream, fin, left));
        }
        let Some((head, _)) = from.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, flags, length @ ..] = *head;
        let length = usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
        if a & 0x80 == 0 {
            from.advance(HEAD);
            let stream = u32::from_be_bytes([a, b, c, d]);
            return Ok(self.data(from, stream, flags & FIN != 0, length));
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(FrameError::Version { version });
        }
        if length > MAX_CONTROL {
            return Err(FrameError::TooLarge { length });
        }
        if from.len() < HEAD + length {
            return Ok(None);
        }
        from.advance(HEAD);
        let body = from.split_to(length);
        self.control(u16::from_be_bytes([c, d]), flags, &body).map(Some)
    }

    fn data(&mut self, from: &mut BytesMut, stream: u32, fin: bool, left: usize) -> Option<Incoming> {
        let data = from.split_to(left.min(from.len())).freeze();
        let left = left - data.len();
        if left > 0 {
            self.data = Some((stream, fin, left));
            if data.is_empty() {
                return None;
            }
        }
        Some(Incoming::Data { stream, data, fin: fin && left == 0 })
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: &[u8]) -> Result<Incoming, FrameError> {
        let fin = flags & FIN != 0;
        let mut number = || body.try_get_u32().map_err(|_| FrameError::TooShort { kind });
        match kind {
            SYN_STREAM => {
                let stream = number()? & STREAM_ID;
                let _associated_to = number()?;
                // Priority and credential slot.
                let block = body.get(2..).ok_or(FrameError::TooShort { kind })?;
                let headers = self.inflater.block(block)?;
                Ok(Incoming::SynStream { stream, headers, fin, unidirectional: flags & UNIDIRECTIONAL != 0 })
            }
            SYN_REPLY | HEADERS => {
                let stream = number()? & STREAM_ID;
                // Read all the same: the next block may refer to this one.
                self.inflater.block(body)?;
                Ok(if fin { Incoming::Fin { stream } } else { Incoming::Other })
            }
            RST_STREAM => Ok(Incoming::Reset { stream: number()? & STREAM_ID }),
            PING => Ok(Incoming::Ping { id: number()? }),
            GOAWAY => Ok(Incoming::GoAway),
            _ => Ok(Incoming::Other),
        }
    }
}

fn control(kind: u16, length: u32, into: &mut BytesMut) {
    into.put_u16(0x8000 | VERSION);
    into.put_u16(kind);
    into.put_u32(length);
}

/// Appends a frame.
pub(super) fn encode(frame: &Outgoing, deflater: &mut Deflater, into: &mut BytesMut) {
    match frame {
        Outgoing::SynReply { stream } => {
            let mut block = BytesMut::new();
            deflater.empty_block(&mut block);
            control(SYN_REPLY, 4 + u32::try_from(block.len()).unwrap_or_default(), into);
            into.put_u32(*stream);
            into.put_slice(&block);
        }
        Outgoing::Reset { stream, status } => {
            control(RST_STREAM, 8, into);
            into.put_u32(*stream);
            into.put_u32(*status as u32);
        }
        Outgoing::Ping { id } => {
            control(PING, 4, into);
            into.put_u32(*id);
        }
        Outgoing::GoAway { last_good_stream } => {
            control(GOAWAY, 8, into);
            into.put_u32(*last_good_stream);
            into.put_u32(0);
        }
        Outgoing::Data { stream, data, fin } => {
            // A frame's length has 24 bits.
            let mut rest = data.clone();
            loop {
                let part = rest.split_to(rest.len().min(0x00ff_ffff));
                let flags = if *fin && rest.is_empty() { u32::from(FIN) << 24 } else { 0 };
                into.put_u32(*stream);
                into.put_u32(flags | u32::try_from(part.len()).unwrap_or_default());
                into.put_slice(&part);
                if rest.is_empty() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(frames: &[Outgoing]) -> BytesMut {
        let (mut deflater, mut bytes) = (Deflater::default(), BytesMut::new());
        for frame in frames {
            encode(frame, &mut deflater, &mut bytes);
        }
        bytes
    }

    #[test]
    fn a_data_frame_is_given_out_as_it_comes_and_ends_once() {
        let all = written(&[Outgoing::Data { stream: 5, data: Bytes::from_static(b"abcdef"), fin: true }]);
        let (mut decoder, mut from) = (Decoder::new(), BytesMut::from(&all[..10]));
        let part = |data: &'static [u8], fin| Some(Incoming::Data { stream: 5, data: Bytes::from_static(data), fin });
        assert_eq!(decoder.decode(&mut from).expect("decodes"), part(b"ab", false));
        assert_eq!(decoder.decode(&mut from).expect("decodes"), None);
        from.extend_from_slice(&all[10..]);
        assert_eq!(decoder.decode(&mut from).expect("decodes"), part(b"cdef", true));
        assert_eq!(decoder.decode(&mut from).expect("decodes"), None);
    }

    #[test]
    fn frames_follow_each_other() {
        let mut all = written(&[
            Outgoing::SynReply { stream: 1 },
            Outgoing::Ping { id: 7 },
            Outgoing::SynReply { stream: 3 },
            Outgoing::Data { stream: 1, data: Bytes::new(), fin: true },
            Outgoing::Reset { stream: 3, status: ResetStatus::Cancel },
            Outgoing::GoAway { last_good_stream: 3 },
        ]);
        let mut decoder = Decoder::new();
        let mut next = || decoder.decode(&mut all).expect("decodes");
        assert_eq!(next(), Some(Incoming::Other));
        assert_eq!(next(), Some(Incoming::Ping { id: 7 }));
        assert_eq!(next(), Some(Incoming::Other));
        assert_eq!(next(), Some(Incoming::Data { stream: 1, data: Bytes::new(), fin: true }));
        assert_eq!(next(), Some(Incoming::Reset { stream: 3 }));
        assert_eq!(next(), Some(Incoming::GoAway));
        assert_eq!(next(), None);
    }

    #[test]
    fn what_is_too_large_or_of_another_version_is_refused_before_it_is_read() {
        let decode = |bytes: &[u8]| Decoder::new().decode(&mut BytesMut::from(bytes));
        assert_eq!(decode(&[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]), Err(FrameError::TooLarge { length: 0x00ff_ffff }));
        assert_eq!(decode(&[0x80, 2, 0, 1, 0, 0, 0, 10]), Err(FrameError::Version { version: 2 }));
        assert_eq!(decode(&[0x80, 3, 0, 6, 0, 0, 0, 1, 9]), Err(FrameError::TooShort { kind: 6 }));
    }

    proptest! {
        /// Whatever comes, however it is cut: no panic, and no more is given out than came.
        #[test]
        fn any_bytes_are_read_or_refused(
            kind in 0_u16..10, flags: u8, length in 0_usize..64, control: bool,
            body in prop::collection::vec(any::<u8>(), 0..96), cut in 0_usize..96,
        ) {
            let mut bytes = BytesMut::new();
            if control {
                bytes.put_u16(0x8003);
                bytes.put_u16(kind);
            } else {
                bytes.put_u32(3);
            }
            bytes.put_u8(flags);
            bytes.put_uint(length as u64, 3);
            bytes.put_slice(&body);
            let mut rest = bytes.split_off(cut.min(bytes.len()));
            let (came, mut given) = (bytes.len() + rest.len(), 0);
            let mut decoder = Decoder::new();
            for part in [BytesMut::new(), rest.split()] {
                bytes.extend_from_slice(&part);
                loop {
                    match decoder.decode(&mut bytes) {
                        Ok(Some(Incoming::Data { data, .. })) => given += data.len(),
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => return Ok(()),
                    }
                }
            }
            prop_assert!(given <= came);
        }
    }
}
