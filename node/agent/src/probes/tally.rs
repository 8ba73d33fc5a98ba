//! When a row of results becomes a verdict.

/// Counts results against the probe's thresholds.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    success: u32,
    failure: u32,
    in_a_row: u32,
    last: Option<bool>,
}

impl Tally {
    /// Thresholds as in the probe; 1 and 3 by default.
    pub(crate) fn new(success: Option<i32>, failure: Option<i32>) -> Self {
        let at_least_one = |threshold: Option<i32>, default: u32| {
            threshold.and_then(|t| u32::try_from(t).ok()).filter(|t| *t > 0).unwrap_or(default)
        };
        Self { success: at_least_one(success, 1), failure: at_least_one(failure, 3), in_a_row: 0, last: None }
    }

    /// The verdict once the threshold is reached, and from then on with every result that confirms it.
    pub(crate) fn count(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.last = Some(success);
            self.in_a_row = 1;
        }
        let threshold = if success { self.success } else { self.failure };
        (self.in_a_row >= threshold).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_threshold_in_a_row() {
        let mut tally = Tally::new(Some(2), Some(3));
        let verdicts: Vec<_> =
            [false, false, true, false, false, false, true, true].into_iter().map(|result| tally.count(result)).collect();
        assert_eq!(verdicts, [None, None, None, None, None, Some(false), None, Some(true)]);
    }

    #[test]
    fn thresholds_default_to_one_success_and_three_failures() {
        let mut tally = Tally::new(None, Some(0));
        assert_eq!(tally.count(true), Some(true));
        assert_eq!([tally.count(false), tally.count(false), tally.count(false)], [None, None, Some(false)]);
    }
}
