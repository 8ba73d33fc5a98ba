//! What servers outside said, for as long as they allow, in bounded memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
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
/// Answers with more records are not kept.
const MOST_RECORDS: usize = 64;

/// The oldest answer goes when there are too many.
pub(crate) struct Cache {
    most: usize,
    entries: HashMap<Key, Entry>,
    order: VecDeque<(Key, Instant)>,
}

struct Entry {
    message: Arc<Message>,
    since: Instant,
    until: Instant,
}

impl Cache {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: VecDeque::new() }
    }

    /// The answer, and for how many seconds it has been here.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<(Arc<Message>, u32)> {
        let entry = self.entries.get(key).filter(|entry| now < entry.until)?;
        let age = u32::try_from((now - entry.since).as_secs()).unwrap_or(u32::MAX);
        Some((entry.message.clone(), age))
    }

    pub(crate) fn put(&mut self, key: Key, message: &Arc<Message>, now: Instant) {
        let Some(seconds) = lifetime(message) else { return };
        let until = now + Duration::from_secs(u64::from(seconds));
        self.order.push_back((key.clone(), now));
        self.entries.insert(key, Entry { message: message.clone(), since: now, until });
        while self.order.len() > self.most {
            let Some((oldest, since)) = self.order.pop_front() else { break };
            // It may have been learnt anew since.
            if self.entries.get(&oldest).is_some_and(|entry| entry.since == since) {
                self.entries.remove(&oldest);
            }
        }
    }
}

/// Seconds; `None` for what is not kept.
fn lifetime(message: &Message) -> Option<u32> {
    let records = message.answers.len() + message.authorities.len() + message.additionals.len();
    if records > MOST_RECORDS || message.metadata.truncation {
        return None;
    }
    let shortest = |records: &[Record]| records.iter().map(|record| record.ttl).min();
    let seconds = match (message.metadata.response_code, shortest(&message.answers)) {
        (ResponseCode::NoError, Some(ttl)) => ttl.min(LONGEST),
        // RFC 2308: as the zone says in what comes with the answer.
        (ResponseCode::NoError | ResponseCode::NXDomain, _) => {
            let soa = message.authorities.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(soa.minimum.min(record.ttl)),
                _ => None,
            });
            soa?.min(LONGEST_ABSENCE)
        }
        _ => return None,
    };
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{A, SOA};

    use super::*;

    fn key(name: &str) -> Key {
        Key { name: Name::from_ascii(name).unwrap(), kind: RecordType::A, dnssec_ok: false, checking_disabled: false }
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
        assert_eq!(lifetime(&answer(60)), Some(60));
        assert_eq!((lifetime(&answer(0)), lifetime(&answer(1 << 30))), (None, Some(LONGEST)));
        assert_eq!(lifetime(&absence(ResponseCode::NXDomain, Some(30))), Some(30));
        assert_eq!(lifetime(&absence(ResponseCode::NoError, Some(9000))), Some(LONGEST_ABSENCE));
        assert_eq!(
            (lifetime(&absence(ResponseCode::NXDomain, None)), lifetime(&absence(ResponseCode::ServFail, Some(9)))),
            (None, None)
        );
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
