//! Many similar occurrences become one event, as in client-go: what differs in nothing but its message is combined once there
//! were ten messages, until ten minutes bring none.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::event::Subject;
use super::recent::Recent;

/// With so many messages, occurrences are combined.
const MESSAGES: usize = 10;
/// After so long without one, counting starts anew.
const TOGETHER: SignedDuration = SignedDuration::from_mins(10);

#[derive(Default)]
pub(super) struct Similar(Recent<Subject, Seen>);

struct Seen {
    messages: HashSet<String>,
    last: Timestamp,
}

impl Similar {
    /// Whether this occurrence is to be combined with others.
    pub(super) fn is_combined(&mut self, subject: &Subject, message: &str, now: Timestamp) -> bool {
        if let Some(seen) = self.0.get_mut(subject).filter(|seen| now.duration_since(seen.last) <= TOGETHER) {
            seen.last = now;
            if !seen.messages.contains(message) && seen.messages.len() < MESSAGES - 1 {
                seen.messages.insert(message.to_owned());
            }
            return !seen.messages.contains(message);
        }
        let messages = HashSet::from([message.to_owned()]);
        self.0.insert(subject.clone(), Seen { messages, last: now });
        false
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::super::{EventType, Occurrence};
    use super::*;

    #[test]
    fn the_tenth_message_is_combined_and_those_from_before_count_on() {
        let about = ObjectReference { name: Some("web".to_owned()), ..ObjectReference::default() };
        let occurrence = Occurrence { about, kind: EventType::Normal, reason: "Told".to_owned(), message: String::new() };
        let (subject, mut similar) = (Subject::of(&occurrence), Similar::default());
        let mut is_combined = |message: usize, second: i64| {
            let now = Timestamp::from_second(second).expect("in range");
            similar.is_combined(&subject, &message.to_string(), now)
        };
        assert!((1..10).all(|message| !is_combined(message, 0)));
        assert_eq!([10, 11, 3].map(|message| is_combined(message, 600)), [true, true, false]);
        assert!(!is_combined(12, 1201));
    }
}
