//! Shuffle sharding: each flow gets a few queues of its level, dealt by its hash, so that a flow that floods fills only its
//! own and seldom all of another's.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What a flow is dealt its queues by.
pub(super) fn hash(schema: &str, distinguisher: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (schema, distinguisher).hash(&mut hasher);
    hasher.finish()
}

/// `size` different cards of a deck of `deck`, the same for the same `hash`.
pub(super) fn hand(mut hash: u64, deck: usize, size: usize) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(size.min(deck));
    for left in (1..=deck).rev().take(size) {
        let mut card = usize::try_from(hash % left as u64).unwrap_or_default();
        hash /= left as u64;
        // The card is one of those that are left: those dealt before it are passed over, lowest first.
        let mut before = dealt.clone();
        before.sort_unstable();
        for other in before {
            if other <= card {
                card += 1;
            }
        }
        dealt.push(card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_hand_has_different_cards_of_the_deck() {
        for flow in 0..1000 {
            let dealt = hand(hash("schema", &flow.to_string()), 16, 4);
            assert_eq!(dealt.iter().collect::<BTreeSet<_>>().len(), 4, "{dealt:?}");
            assert!(dealt.iter().all(|card| *card < 16), "{dealt:?}");
        }
        assert_eq!(hand(7, 3, 8).len(), 3);
    }

    #[test]
    fn flows_seldom_share_all_their_queues() {
        let first: BTreeSet<usize> = hand(hash("s", "flood"), 128, 6).into_iter().collect();
        let shared =
            (0..10_000).filter(|flow| hand(hash("s", &flow.to_string()), 128, 6).into_iter().collect::<BTreeSet<_>>() == first);
        assert_eq!(shared.count(), 0);
        let hands: BTreeSet<Vec<usize>> = (0..10_000).map(|flow| hand(hash("s", &flow.to_string()), 128, 6)).collect();
        assert!(hands.len() > 9_990, "{}", hands.len());
    }
}
