//! How large the lists of each resource are: the most of late, so that a small list in between does not make a large one
//! look cheap.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

/// What is known of a list counts for half after so long.
const HALF_LIFE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Most {
    objects: u64,
    seen: Instant,
}

impl Most {
    /// Halved in steps, so that lists of the same size need not be noted again and again.
    fn at(self, now: Instant) -> u64 {
        let halved = now.saturating_duration_since(self.seen).as_secs() / HALF_LIFE.as_secs();
        u32::try_from(halved).ok().and_then(|halved| self.objects.checked_shr(halved)).unwrap_or(0)
    }
}

#[derive(Default)]
pub(super) struct Sizes(RwLock<HashMap<Box<str>, Most>>);

impl Sizes {
    /// How many objects a list of the resource is expected to have; 0 where none was seen.
    pub(super) fn expected(&self, resource: &str, now: Instant) -> u64 {
        self.0.read().get(resource).map_or(0, |most| most.at(now))
    }

    /// A list had so many objects.
    pub(super) fn seen(&self, resource: &str, objects: u64, now: Instant) {
        if objects > self.expected(resource, now) {
            self.0.write().insert(resource.into(), Most { objects, seen: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_list_does_not_hide_a_large_one_and_a_large_one_is_forgotten() {
        let (sizes, began) = (Sizes::default(), Instant::now());
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        assert_eq!(sizes.expected("pods", began), 0);
        sizes.seen("pods", 10_000, began);
        sizes.seen("pods", 3, after(1));
        assert_eq!(sizes.expected("pods", after(59)), 10_000);
        assert_eq!(sizes.expected("pods", after(60)), 5_000);
        assert_eq!(sizes.expected("pods", after(24 * 3600)), 0);
        sizes.seen("pods", 6_000, after(61));
        assert_eq!(sizes.expected("pods", after(62)), 6_000);
        assert_eq!(sizes.expected("services", after(62)), 0);
    }
}
