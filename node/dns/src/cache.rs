//! What servers outside said, for as long as they allow, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::Instant;

/// Whom it was asked of is not in it: that follows from the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// In lower case.
    pub(crate) name: Name,
    pub(crate) kind: RecordType,
    pub(crate) dnssec_ok: bool,
    pub(crate) checking_disabled: bool,
}

/// Seconds: what is there is believed for at most an hour, what is not for at most five minutes.
const LONGEST: u32 = 3600;
const LONGEST_ABSENCE: u32 = 300;
/// How long it is believed that nobody can tell (RFC 9520: at least a second, at most five minutes).
const FAILURE: Duration = Duration::from_secs(2);
/// Answers with more records, or more bytes on the wire, are not kept.
const MOST_RECORDS: usize = 64;
const LARGEST: usize = 4096;
/// About how much memory all answers may take: whoever asks for many long ones pushes out others, and no more.
const MOST_BYTES: usize = 16 << 20;

/// The oldest answer goes when there are too many, or they are too large.
pub(crate) struct Cache {
    most: usize,
    bytes: usize,
    entries: HashMap<Key, Entry>,
    order: VecDeque<(Key, Instant)>,
}

struct Entry {
    message: Arc<Message>,
    bytes: usize,
    since: Instant,
    until: Instant,
}

impl Cache {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, bytes: 0, entries: HashMap::new(), order: VecDeque::new() }
    }

    /// The answer, and for how many seconds it has been here.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<(Arc<Message>, u32)> {
        let entry = self.entries.get(key).filter(|entry| now < entry.until)?;
        let age = u32::try_from((now - entry.since).as_secs()).unwrap_or(u32::MAX);
        Some((entry.message.clone(), age))
    }

    /// An answer, unless it may not or cannot be kept.
    pub(crate) fn put(&mut self, key: Key, message: &Arc<Message>, now: Instant) {
        let how_long = match message.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => lifetime(message, key.kind).map(u64::from).map(Duration::from_secs),
            _ => Some(FAILURE),
        };
        if let (Some(how_long), Some(bytes)) = (how_long, size(message)) {
            self.keep(key, message.clone(), bytes, now, how_long);
        }
    }

    /// That no server could tell: those who ask again at once need not find out for themselves.
    pub(crate) fn put_failure(&mut self, key: Key, now: Instant) {
        let failure = Message::error_msg(0, OpCode::Query, ResponseCode::ServFail);
        self.keep(key, Arc::new(failure), size_of::<Message>(), now, FAILURE);
    }

    fn keep(&mut self, key: Key, message: Arc<Message>, bytes: usize, now: Instant, how_long: Duration) {
        self.order.push_back((key.clone(), now));
        self.bytes += bytes;
        if let Some(before) = self.entries.insert(key, Entry { message, bytes, since: now, until: now + how_long }) {
            self.bytes -= before.bytes;
        }
        while self.order.len() > self.most || self.bytes > MOST_BYTES {
            let Some((oldest, since)) = self.order.pop_front() else { break };
            // It may have been learnt anew since.
            if self.entries.get(&oldest).is_some_and(|entry| entry.since == since)
                && let Some(gone) = self.entries.remove(&oldest)
            {
                self.bytes -= gone.bytes;
            }
        }
    }
}

/// About how many bytes of memory an answer takes; `None` when that is too many.
fn size(message: &Message) -> Option<usize> {
    let records = message.answers.len() + message.authorities.len() + message.additionals.len();
    if records > MOST_RECORDS {
        return None;
    }
    let written = message.to_vec().ok()?.len();
    (written <= LARGEST).then_some(size_of::<Message>() + records * size_of::<Record>() + written)
}

/// Seconds that an answer to a question for `kind` may be kept; `None` for what is not kept.
fn lifetime(message: &Message, kind: RecordType) -> Option<u32> {
    if message.metadata.truncation {
        return None;
    }
    // An alias alone says that where it leads there is no such record, which is believed no longer than an absence.
    let is_there = kind == RecordType::ANY || message.answers.iter().any(|record| record.record_type() == kind);
    let shortest = |records: &[Record]| records.iter().map(|record| record.ttl).min();
    let seconds = match (message.metadata.response_code, shortest(&message.answers)) {
        (ResponseCode::NoError, Some(ttl)) if is_there => ttl.min(LONGEST),
        // RFC 2308: as the zone says in what comes with the answer.
        (ResponseCode::NoError | ResponseCode::NXDomain, ttl) => {
            let soa = message.authorities.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.minimum.min(record.ttl)),
                _ => None,
            });
            soa?.min(ttl.unwrap_or(LONGEST)).min(LONGEST_ABSENCE)
        }
        _ => return None,
    };
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, CNAME, SOA, TXT};

    use super::*;

    fn key(name: &str) -> Key {
        Key { name: Name::from_ascii(name).unwrap(), kind: RecordType::A, dnssec_ok: false, checking_disabled: false }
    }

    fn kept(message: &Message) -> Option<u32> {
        lifetime(message, RecordType::A)
    }

    fn answer(ttl: u32) -> Arc<Message> {
        let mut message = Message::response(1, OpCode::Query);
        message.answers = vec![Record::from_rdata(Name::root(), ttl, RData::A(A::new(192, 0, 2, 1)))];
        Arc::new(message)
    }

    fn absence(code: ResponseCode, minimum: Option<u32>) -> Message {
        let mut message = Message::error_msg(1, OpCode::Query, code);
        let soa = |minimum| SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, minimum);
        message.authorities = minimum.map(|m| Record::from_rdata(Name::root(), 900, RData::SOA(soa(m)))).into_iter().collect();
        message
    }

    #[test]
    fn an_answer_is_kept_as_long_as_its_zone_allows() {
        assert_eq!(kept(&answer(60)), Some(60));
        assert_eq!((kept(&answer(0)), kept(&answer(1 << 30))), (None, Some(LONGEST)));
        assert_eq!(kept(&absence(ResponseCode::NXDomain, Some(30))), Some(30));
        assert_eq!(kept(&absence(ResponseCode::NoError, Some(9000))), Some(LONGEST_ABSENCE));
        assert_eq!((kept(&absence(ResponseCode::NXDomain, None)), kept(&absence(ResponseCode::ServFail, Some(9)))), (None, None));
    }

    #[test]
    fn an_alias_of_nothing_is_believed_no_longer_than_an_absence() {
        let mut alias = absence(ResponseCode::NoError, Some(30));
        alias.answers = vec![Record::from_rdata(Name::root(), 3600, RData::CNAME(CNAME(Name::root())))];
        assert_eq!((kept(&alias), lifetime(&alias, RecordType::CNAME)), (Some(30), Some(3600)));
    }

    #[tokio::test(start_paused = true)]
    async fn long_answers_take_no_more_memory_than_is_meant_for_all() {
        let mut cache = Cache::new(100_000);
        let now = Instant::now();
        let mut long = (*answer(60)).clone();
        long.answers.push(Record::from_rdata(Name::root(), 60, RData::TXT(TXT::new(vec!["x".repeat(250); 14]))));
        let long = Arc::new(long);
        for n in 0..10_000 {
            cache.put(key(&format!("n{n}.")), &long, now + Duration::from_millis(n));
        }
        assert!(cache.bytes <= MOST_BYTES && cache.bytes > MOST_BYTES / 2, "{}", cache.bytes);
        assert!(cache.entries.len() < 5_000 && cache.get(&key("n9999."), now).is_some());
        let mut longer = (*long).clone();
        longer.answers.extend_from_within(1..);
        cache.put(key("longer."), &Arc::new(longer), now);
        assert!(cache.get(&key("longer."), now).is_none(), "too long to be kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_remembered_for_a_moment() {
        let mut cache = Cache::new(2);
        let now = Instant::now();
        cache.put_failure(key("a."), now);
        let code = |at| cache.get(&key("a."), at).map(|(message, _)| message.metadata.response_code);
        assert_eq!((code(now + FAILURE / 2), code(now + FAILURE)), (Some(ResponseCode::ServFail), None));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_grows_old_and_is_forgotten() {
        let mut cache = Cache::new(2);
        let begun = Instant::now();
        cache.put(key("a."), &answer(10), begun);
        assert_eq!(cache.get(&key("a."), begun + Duration::from_secs(9)).map(|(_, age)| age), Some(9));
        assert!(cache.get(&key("a."), begun + Duration::from_secs(10)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_answers_make_room() {
        let mut cache = Cache::new(2);
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        for (second, name) in [(0, "a."), (1, "b."), (2, "a."), (3, "c.")] {
            cache.put(key(name), &answer(60), at(second));
        }
        let known = ["a.", "b.", "c."].map(|name| cache.get(&key(name), at(4)).is_some());
        assert_eq!((known, cache.entries.len()), ([true, false, true], 2));
    }
}
