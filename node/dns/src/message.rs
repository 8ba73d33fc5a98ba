//! Questions and answers on the wire (RFC 1035, 6891). hickory reads and writes what is in a message; what is looked at
//! before that, and how an answer is made to fit, is here.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

const HEADER: usize = 12;
/// Of a question: OPT, and perhaps a signature.
const MOST_ADDITIONALS: u16 = 4;
/// A datagram without extensions.
const PLAIN: u16 = 512;
/// The largest datagram that passes every network whole (DNS flag day 2020).
pub(crate) const DATAGRAM: u16 = 1232;
/// The OPT record of an answer, which has no options.
const OPT: u16 = 11;

/// What has come in.
#[derive(Debug)]
pub(crate) enum Request {
    /// Nothing that could be answered, or must be.
    Ignored,
    /// Answered without being looked at further.
    Refused(Vec<u8>),
    Asked(Question),
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: u16,
    pub(crate) name: Name,
    pub(crate) kind: RecordType,
    /// `IN` of all that is not refused.
    pub(crate) class: DNSClass,
    pub(crate) recursion_desired: bool,
    pub(crate) checking_disabled: bool,
    pub(crate) extensions: Option<Extensions>,
}

/// What a client says with EDNS(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) payload: u16,
    pub(crate) dnssec_ok: bool,
}

/// How the answer goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Datagram,
    Stream,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) authentic: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Reply {
    pub(crate) fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

pub(crate) fn read(bytes: &[u8]) -> Request {
    let number = |at: usize| bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    // An answer is never answered, or two servers could keep each other busy for ever.
    if bytes.len() < HEADER || bytes[2] & 0x80 != 0 {
        return Request::Ignored;
    }
    if bytes[2] & 0x78 != 0 {
        return Request::Refused(refusal(bytes, ResponseCode::NotImp));
    }
    // Looked at first: hickory makes room for as many questions as the header says.
    let counts = [4, 6, 8, 10].map(|at| number(at).unwrap_or(u16::MAX));
    if counts[..3] != [1, 0, 0] || counts[3] > MOST_ADDITIONALS {
        return Request::Refused(refusal(bytes, ResponseCode::FormErr));
    }
    let Ok(mut message) = Message::from_vec(bytes) else { return Request::Refused(refusal(bytes, ResponseCode::FormErr)) };
    let Some(query) = message.queries.pop() else { return Request::Refused(refusal(bytes, ResponseCode::FormErr)) };
    let question = Question {
        id: message.metadata.id,
        kind: query.query_type(),
        class: query.query_class(),
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        extensions: message
            .edns
            .as_ref()
            .map(|edns| Extensions { payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok }),
        name: query.name().clone(),
    };
    if message.edns.is_some_and(|edns| edns.version() != 0) {
        return Request::Refused(write(&question, Reply::code(ResponseCode::BADVERS), Transport::Datagram));
    }
    let transfer = matches!(question.kind, RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG);
    if question.class != DNSClass::IN || transfer {
        return Request::Refused(write(&question, Reply::code(ResponseCode::Refused), Transport::Datagram));
    }
    Request::Asked(question)
}

/// A header alone, with the identity of what it answers.
fn refusal(request: &[u8], code: ResponseCode) -> Vec<u8> {
    // The operation and whether recursion was desired stay as they were.
    vec![request[0], request[1], 0x80 | (request[2] & 0x79), 0x80 | code.low(), 0, 0, 0, 0, 0, 0, 0, 0]
}

/// An answer that fits: what is only helpful is left out first, then answers, which the client is told of.
pub(crate) fn write(question: &Question, reply: Reply, transport: Transport) -> Vec<u8> {
    let limit = match (transport, question.extensions) {
        (Transport::Stream, _) => u16::MAX,
        (Transport::Datagram, None) => PLAIN,
        (Transport::Datagram, Some(extensions)) => extensions.payload.clamp(PLAIN, DATAGRAM),
    };
    let opt = if question.extensions.is_some() { OPT } else { 0 };
    let mut message = Message::response(question.id, OpCode::Query);
    message.metadata.recursion_desired = question.recursion_desired;
    message.metadata.checking_disabled = question.checking_disabled;
    message.metadata.recursion_available = true;
    message.metadata.authoritative = reply.authoritative;
    message.metadata.authentic_data = reply.authentic;
    // The rest of it is in the OPT record.
    message.metadata.response_code = ResponseCode::from_low(reply.code.low());
    let mut query = Query::query(question.name.clone(), question.kind);
    query.set_query_class(question.class);
    message.add_query(query);
    (message.answers, message.authorities, message.additionals) = (reply.answers, reply.authorities, reply.additionals);
    let mut written = encode(&message, limit - opt);
    if !message.additionals.is_empty() && written.as_ref().is_some_and(|bytes| is_truncated(bytes)) {
        message.additionals.clear();
        written = encode(&message, limit - opt);
    }
    let mut bytes = written.unwrap_or_else(|| {
        let [high, low] = question.id.to_be_bytes();
        refusal(&[high, low, u8::from(question.recursion_desired)], ResponseCode::ServFail)
    });
    if let Some(extensions) = question.extensions {
        add_opt(&mut bytes, reply.code.high(), extensions.dnssec_ok);
    }
    bytes
}

/// `None` when not even the question fits, or a record cannot be written.
fn encode(message: &Message, limit: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::from(PLAIN));
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    message.emit(&mut encoder).ok()?;
    // What was written of the first record that did not fit.
    encoder.trim();
    Some(bytes)
}

fn is_truncated(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Behind all others: the client's payload is answered with ours, there are no options.
fn add_opt(bytes: &mut Vec<u8>, code: u8, dnssec_ok: bool) {
    let count = u16::from_be_bytes([bytes[10], bytes[11]]).saturating_add(1);
    bytes[10..HEADER].copy_from_slice(&count.to_be_bytes());
    bytes.push(0);
    bytes.extend(41_u16.to_be_bytes());
    bytes.extend(DATAGRAM.to_be_bytes());
    bytes.extend([code, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
}

/// Whether a message answers a question that was asked with this identity.
pub(crate) fn answers(message: &Message, id: u16, name: &Name, kind: RecordType) -> bool {
    message.metadata.message_type == MessageType::Response
        && message.metadata.id == id
        && message.metadata.op_code == OpCode::Query
        && matches!(&message.queries[..], [query] if query.name() == name && query.query_type() == kind)
}

#[cfg(test)]
pub(crate) mod tests {
    use hickory_proto::op::Edns;
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::A;

    use super::*;

    /// A question as clients write it.
    pub(crate) fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        if let Some(payload) = payload {
            let mut edns = Edns::new();
            edns.set_max_payload(payload);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    fn asked(bytes: &[u8]) -> Question {
        match read(bytes) {
            Request::Asked(question) => question,
            other => panic!("{other:?}"),
        }
    }

    fn refused(bytes: &[u8]) -> Message {
        match read(bytes) {
            Request::Refused(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn addresses(count: u32) -> Vec<Record> {
        let name = Name::from_ascii("a.example.").unwrap();
        (0..count).map(|n| Record::from_rdata(name.clone(), 5, RData::A(A(n.into())))).collect()
    }

    #[test]
    fn what_is_no_question_is_ignored_or_refused_under_its_own_identity() {
        let good = question("a.example.", RecordType::A, None);
        assert_eq!(asked(&good).name.to_string(), "a.example.");
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        assert!(matches!(read(&with(2, 0x81)), Request::Ignored), "an answer");
        assert!(matches!(read(&good[..11]), Request::Ignored), "half a header");
        for (bytes, code) in [
            (with(2, 0x29), ResponseCode::NotImp),
            (with(5, 0), ResponseCode::FormErr),
            (with(4, 0xff), ResponseCode::FormErr),
            (with(7, 1), ResponseCode::FormErr),
            (with(11, 200), ResponseCode::FormErr),
            (good[..20].to_vec(), ResponseCode::FormErr),
            (with(good.len() - 1, 3), ResponseCode::Refused),
            (question("a.example.", RecordType::AXFR, None), ResponseCode::Refused),
        ] {
            let answer = refused(&bytes);
            assert_eq!((answer.metadata.id, answer.metadata.response_code), (0x1234, code), "{bytes:?}");
        }
        // Clients take no answer whose question is not theirs.
        let chaos = refused(&with(good.len() - 1, 3));
        assert_eq!(chaos.queries[0].query_class(), DNSClass::CH);
    }

    #[test]
    fn another_version_of_the_extensions_is_told_which_there_is() {
        let mut bytes = question("a.example.", RecordType::A, Some(1232));
        let version = bytes.len() - 5;
        bytes[version] = 1;
        let answer = refused(&bytes);
        // Of the two names that 16 has, hickory reads the other.
        assert_eq!((u16::from(answer.metadata.response_code), answer.edns.unwrap().version()), (16, 0));
    }

    #[test]
    fn an_answer_fits_what_the_client_takes_and_says_when_there_is_more() {
        for (payload, limit, whole) in [(None, 512, 30), (Some(100), 512, 29), (Some(4096), 1232, 70)] {
            let question = asked(&question("a.example.", RecordType::A, payload));
            let many = Reply { answers: addresses(400), ..Reply::default() };
            let bytes = write(&question, many.clone(), Transport::Datagram);
            let answer = Message::from_vec(&bytes).unwrap();
            assert!(bytes.len() <= limit && bytes.len() > limit - 40, "{} of {limit}", bytes.len());
            assert!(answer.metadata.truncation && answer.edns.is_some() == payload.is_some());
            let answer = Message::from_vec(&write(&question, many, Transport::Stream)).unwrap();
            assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, 400));

            let helped = Reply { answers: addresses(whole), additionals: addresses(100), ..Reply::default() };
            let answer = Message::from_vec(&write(&question, helped, Transport::Datagram)).unwrap();
            assert_eq!((answer.metadata.truncation, answer.answers.len()), (false, whole as usize), "{payload:?}");
            assert!(answer.additionals.is_empty());
        }
    }

    #[test]
    fn only_an_answer_to_the_very_question_is_believed() {
        let name = Name::from_ascii("a.example.").unwrap();
        let mut message = Message::response(7, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii("A.Example.").unwrap(), RecordType::A));
        assert!(answers(&message, 7, &name, RecordType::A));
        assert!(!answers(&message, 8, &name, RecordType::A) && !answers(&message, 7, &name, RecordType::AAAA));
        assert!(!answers(&message, 7, &Name::from_ascii("b.example.").unwrap(), RecordType::A));
        message.metadata.message_type = MessageType::Query;
        assert!(!answers(&message, 7, &name, RecordType::A));
    }
}
