//! The wire format of protobuf.

use super::ProtobufError;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Wire<'a> {
    pub(crate) fn text(self, what: &str) -> Result<&'a str, ProtobufError> {
        let malformed = || ProtobufError::Malformed { what: what.to_owned(), wanted: "text" };
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| malformed()),
            _ => Err(malformed()),
        }
    }

    pub(crate) fn bytes(self, what: &str) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::Malformed { what: what.to_owned(), wanted: "a message" }),
        }
    }

    pub(crate) fn integer(self, what: &str) -> Result<i64, ProtobufError> {
        match self {
            // Negative numbers of every width are sign-extended to 64 bits.
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err(ProtobufError::Malformed { what: what.to_owned(), wanted: "an integer" }),
        }
    }
}

/// The fields of one message, in order.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(ProtobufError::Truncated("a number"))?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed { what: "a number".to_owned(), wanted: "64 bits at most" })
    }

    fn take(&mut self, length: u64, what: &'static str) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(length).map_err(|_| ProtobufError::Truncated(what))?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Wire<'a>), ProtobufError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).unwrap_or(u32::MAX);
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.take(8, "a fixed number")?.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length, "a field")?)
            }
            5 => Wire::Fixed32(self.take(4, "a fixed number")?.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte))),
            _ => return Err(ProtobufError::Malformed { what: format!("field {number}"), wanted: "of a known wire type" }),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The bytes of a variable-length number, and how many of them count.
fn varint(mut value: u64) -> ([u8; 10], usize) {
    let (mut bytes, mut length) = ([0; 10], 0);
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        bytes[length] = if value == 0 { low } else { low | 0x80 };
        length += 1;
        if value == 0 {
            return (bytes, length);
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    let (bytes, length) = varint(value);
    out.extend_from_slice(&bytes[..length]);
}

pub(crate) fn put_integer(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

pub(crate) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// What stands before the bytes of a text or message.
pub(crate) fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// A message whose length is known when it is written.
pub(crate) fn put_message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(number) << 3 | 2);
    let at = out.len();
    out.push(0);
    write(out);
    // Most messages are short: their length takes the byte that was left for it.
    let (bytes, length) = varint((out.len() - at - 1) as u64);
    out.splice(at..=at, bytes[..length].iter().copied());
}
