//! One question to a name server (RFC 1035): the message, and sending it from the pod's own address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};

pub(crate) const PORT: u16 = 53;

const HEADER: usize = 12;
/// The longest name, and the longest label in it.
const NAME: usize = 253;
const LABEL: usize = 63;
/// What fits in a datagram without extensions; longer answers come by TCP.
const DATAGRAM: usize = 512;
const INTERNET: u16 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The type of record: A or AAAA (RFC 3596).
    fn record(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What a server says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// None where the name has no address of that family.
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// The server cannot or does not want to tell: its response code.
    Refused(u8),
}

enum Parsed {
    Answer(Answer),
    Truncated,
}

/// `None` when the text is no name that can be asked for.
pub(crate) fn question(name: &str, family: Family, id: u16) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > NAME || !name.is_ascii() {
        return None;
    }
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired, one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=LABEL).contains(&usize::from(*length)))?;
        if label.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
            return None;
        }
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(family.record().to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    Some(message)
}

/// Asks by datagram, and by TCP where the answer does not fit or `stream` says so.
///
/// # Errors
/// When the server cannot be reached, or answers nonsense.
pub(crate) async fn ask(own: IpAddr, server: SocketAddr, question: &[u8], stream: bool) -> io::Result<Answer> {
    if !stream {
        let socket = UdpSocket::bind((own, 0)).await?;
        // Only what this server says is heard.
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut bytes = [0; DATAGRAM];
        loop {
            let length = socket.recv(&mut bytes).await?;
            match parse(question, &bytes[..length]) {
                Some(Parsed::Answer(answer)) => return Ok(answer),
                Some(Parsed::Truncated) => break,
                // A late answer to another question.
                None => {}
            }
        }
    }
    let socket = if own.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(own, 0))?;
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    match parse(question, &bytes) {
        Some(Parsed::Answer(answer)) => Ok(answer),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the name server's answer cannot be read")),
    }
}

/// `None` when it is no answer to the question.
fn parse(question: &[u8], message: &[u8]) -> Option<Parsed> {
    let asked = question.get(HEADER..)?;
    let is_response = message.get(2)? & 0x80 != 0;
    let repeated = message.get(HEADER..HEADER + asked.len())?;
    if !is_response || message.get(..2)? != question.get(..2)? || !repeated.eq_ignore_ascii_case(asked) {
        return None;
    }
    if message[2] & 0x02 != 0 {
        return Some(Parsed::Truncated);
    }
    match message.get(3)? & 0x0f {
        0 => {}
        3 => return Some(Parsed::Answer(Answer::NoSuchName)),
        code => return Some(Parsed::Answer(Answer::Refused(code))),
    }
    let mut addresses = Vec::new();
    let mut at = HEADER + asked.len();
    for _ in 0..number(message, 6)? {
        at = after_name(message, at)?;
        let (record, class, length) = (number(message, at)?, number(message, at + 2)?, number(message, at + 8)?);
        let data = message.get(at + 10..at + 10 + usize::from(length))?;
        at += 10 + data.len();
        // Aliases stand beside what they lead to.
        match (class, record) {
            (INTERNET, 1) => addresses.push(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
            (INTERNET, 28) => addresses.push(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?))),
            _ => {}
        }
    }
    Some(Parsed::Answer(Answer::Addresses(addresses)))
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// Where a name ends; a pointer to an earlier one ends it.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `question` with these records, as (type, data), all of the question's name.
    fn answer(question: &[u8], flags: [u8; 2], records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = [&question[..2], &flags, &[0, 1, 0, records.len() as u8, 0, 0, 0, 0], &question[HEADER..]].concat();
        for (record, data) in records {
            message.extend([0xc0, 12]);
            message.extend(record.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 5]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(*data);
        }
        message
    }

    fn parsed(question: &[u8], message: &[u8]) -> Option<Answer> {
        match parse(question, message)? {
            Parsed::Answer(answer) => Some(answer),
            Parsed::Truncated => None,
        }
    }

    #[test]
    fn a_question_is_as_the_standard_writes_it() {
        let asked = question("a.example.", Family::V4, 0x1234).unwrap();
        assert_eq!(asked, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01");
        for name in ["", ".", "a..b", "a b", &"x".repeat(64), &"x.".repeat(128)] {
            assert_eq!(question(name, Family::V4, 1), None, "{name}");
        }
    }

    #[test]
    fn addresses_are_read_behind_aliases() {
        let asked = question("a.example", Family::V4, 7).unwrap();
        let message = answer(&asked, [0x81, 0x80], &[(5, b"\x01b\xc0\x0e"), (1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])]);
        let addresses = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(parsed(&asked, &message), Some(Answer::Addresses(addresses)));
        assert_eq!(parsed(&asked, &answer(&asked, [0x81, 0x83], &[])), Some(Answer::NoSuchName));
        assert_eq!(parsed(&asked, &answer(&asked, [0x81, 0x82], &[])), Some(Answer::Refused(2)));
        assert!(matches!(parse(&asked, &answer(&asked, [0x83, 0x80], &[])), Some(Parsed::Truncated)));
    }

    #[test]
    fn what_answers_another_question_or_ends_too_early_is_not_believed() {
        let asked = question("a.example", Family::V4, 7).unwrap();
        let other = question("b.example", Family::V4, 7).unwrap();
        let late = question("a.example", Family::V4, 8).unwrap();
        for message in [answer(&other, [0x81, 0x80], &[]), answer(&late, [0x81, 0x80], &[]), asked.clone()] {
            assert_eq!(parsed(&asked, &message), None);
        }
        let whole = answer(&asked, [0x81, 0x80], &[(1, &[192, 0, 2, 1])]);
        for length in 0..whole.len() {
            assert_eq!(parsed(&asked, &whole[..length]), None, "{length} bytes");
        }
    }
}
