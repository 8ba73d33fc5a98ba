//! How many requests each priority level may run at once: its nominal limit by shares, and what levels lend each other
//! ("Concurrency limits" in the documents of `PriorityLevelConfigurationSpec`). Pure.

/// What a level may have at least, normally and at most, in seats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) lower: u32,
    pub(super) nominal: u32,
    pub(super) upper: u32,
}

/// What an object asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) nominal: u32,
    pub(super) lendable_percent: u32,
    pub(super) borrowing_percent: Option<u32>,
}

impl Bounds {
    /// The bounds of a level with `shares` of `sum`, on a server with `seats`.
    pub(super) fn of(shares: Shares, sum: u64, seats: u32) -> Self {
        let nominal = (u64::from(seats) * u64::from(shares.nominal)).div_ceil(sum.max(1));
        let percent = |percent: u32| (nominal * u64::from(percent) + 50) / 100;
        let upper = shares.borrowing_percent.map_or(u64::from(seats), |borrowing| nominal + percent(borrowing));
        let seats = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            lower: seats(nominal.saturating_sub(percent(shares.lendable_percent))),
            nominal: seats(nominal),
            upper: seats(upper.max(nominal)),
        }
    }
}

/// The limit of each level, given what each could use now: what one does not need goes to those that need more, in
/// proportion to their nominal limits, within the bounds.
pub(super) fn share_out(levels: &[(Bounds, u32)]) -> Vec<u32> {
    let kept = |(bounds, demand): &(Bounds, u32)| (*demand).clamp(bounds.lower, bounds.nominal);
    let wanted = |(bounds, demand): &(Bounds, u32)| (*demand).min(bounds.upper).saturating_sub(bounds.nominal);
    let pool: u32 = levels.iter().map(|level| level.0.nominal - kept(level)).sum();
    let wishes: u32 = levels.iter().map(wanted).sum();
    if pool == 0 || wishes == 0 {
        return levels.iter().map(|(bounds, _)| bounds.nominal).collect();
    }
    // The water level at which the pool is used up: everybody has it times its weight, or all it wants.
    let at = |level: f64, entry: &(Bounds, u32)| f64::from(wanted(entry)).min(level * f64::from(entry.0.nominal.max(1)));
    let (mut low, mut high) = (0.0, f64::from(wishes));
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        let used: f64 = levels.iter().map(|entry| at(middle, entry)).sum();
        if used > f64::from(pool) { high = middle } else { low = middle }
    }
    let given: Vec<u32> = levels.iter().map(|entry| (at(low, entry) + 1e-6) as u32).collect();
    let taken: u32 = given.iter().sum();
    let lent = |entry: &(Bounds, u32)| {
        let spare = u64::from(entry.0.nominal - kept(entry));
        u32::try_from((spare * u64::from(taken)).div_ceil(u64::from(pool))).unwrap_or(u32::MAX)
    };
    levels.iter().zip(given).map(|(entry, given)| entry.0.nominal - lent(entry).min(entry.0.nominal) + given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(lower: u32, nominal: u32, upper: u32) -> Bounds {
        Bounds { lower, nominal, upper }
    }

    #[test]
    fn bounds_follow_the_formulas_of_the_api() {
        let shares = Shares { nominal: 30, lendable_percent: 33, borrowing_percent: None };
        assert_eq!(Bounds::of(shares, 245, 600), bounds(50, 74, 600));
        let shares = Shares { nominal: 5, lendable_percent: 0, borrowing_percent: Some(20) };
        assert_eq!(Bounds::of(shares, 245, 600), bounds(13, 13, 16));
    }

    #[test]
    fn nobody_lends_while_nobody_needs() {
        assert_eq!(share_out(&[(bounds(5, 10, 100), 0), (bounds(5, 10, 100), 10)]), [10, 10]);
    }

    #[test]
    fn what_one_lends_another_gets_and_no_more_than_is_lendable() {
        assert_eq!(share_out(&[(bounds(4, 10, 100), 0), (bounds(10, 10, 100), 50)]), [4, 16]);
        // Who needs its own keeps it.
        assert_eq!(share_out(&[(bounds(4, 10, 100), 9), (bounds(10, 10, 100), 50)]), [9, 11]);
        // A borrower's upper bound holds.
        assert_eq!(share_out(&[(bounds(4, 10, 100), 0), (bounds(10, 10, 13), 50)]), [7, 13]);
    }

    #[test]
    fn borrowers_share_by_their_nominal_limits() {
        let limits = share_out(&[(bounds(0, 60, 200), 0), (bounds(10, 10, 200), 500), (bounds(20, 20, 200), 500)]);
        assert_eq!(limits, [0, 30, 60]);
    }
}
