//! Schedules as cron writes them: five fields, or a word such as `@daily`.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Words, with the fields that they stand for.
const WORDS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// A schedule with no time within so many days (the 30th of February) has none.
const HORIZON: i64 = 5 * 366;

struct Bounds {
    first: u32,
    last: u32,
    /// Names of the values, the first standing for `first`.
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds { first: 0, last: 59, names: &[] },
    Bounds { first: 0, last: 23, names: &[] },
    Bounds { first: 1, last: 31, names: &[] },
    Bounds { first: 1, last: 12, names: MONTHS },
    Bounds { first: 0, last: 6, names: DAYS },
];

/// When something is to happen again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Every(SignedDuration),
    /// Minutes, hours, days of the month, months and days of the week.
    Fields([Values; 5]),
}

/// The values of a field, as bits; `any` where the field leaves it open (`*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Values {
    bits: u64,
    any: bool,
}

impl Values {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits >> value & 1 == 1)
    }
}

impl Schedule {
    /// # Errors
    /// What is wrong with the schedule.
    pub fn parse(schedule: &str) -> Result<Self, String> {
        if let Some(every) = schedule.strip_prefix("@every ") {
            let every = duration(every).ok_or_else(|| format!("failed to parse duration {schedule}"))?;
            // Whole seconds, and at least one.
            return Ok(Self(Form::Every(SignedDuration::from_secs(every.as_secs().max(1)))));
        }
        let text = match schedule.strip_prefix('@') {
            None => schedule,
            Some(_) => WORDS
                .iter()
                .find_map(|(word, fields)| (*word == schedule).then_some(*fields))
                .ok_or_else(|| format!("unrecognized descriptor: {schedule}"))?,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(format!("expected exactly {} fields, found {}: [{}]", FIELDS.len(), fields.len(), fields.join(" ")));
        }
        let mut values = [Values::default(); 5];
        for ((values, field), bounds) in values.iter_mut().zip(fields).zip(&FIELDS) {
            for range in field.split(',') {
                let Values { bits, any } = parse_range(range, bounds)?;
                *values = Values { bits: values.bits | bits, any: values.any || any };
            }
        }
        Ok(Self(Form::Fields(values)))
    }

    /// The first time after `after`, by the clocks of `zone`; `None` where there is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let fields = match &self.0 {
            Form::Every(every) => return Timestamp::from_second(after.as_second()).ok()?.checked_add(*every).ok(),
            Form::Fields(fields) => fields,
        };
        let first = zone.to_datetime(after).date();
        let days = (0..HORIZON).map_while(|days| first.checked_add(days.days()).ok());
        days.filter(|day| is_day(fields, *day)).find_map(|day| times(fields, day, zone).find(|time| *time > after))
    }

    /// The last time after `since` and not after `now`.
    pub fn latest(&self, since: Timestamp, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut last = self.next(since, zone).filter(|time| *time <= now)?;
        if let Form::Every(every) = &self.0 {
            let more = now.duration_since(last).as_secs() / every.as_secs();
            return last.checked_add(SignedDuration::from_secs(more.saturating_mul(every.as_secs()))).ok();
        }
        // Most likely the last one is not long ago: looked for in spans that grow, so that a long pause costs little.
        for hours in [1, 24, 24 * 32, 24 * 366] {
            let from = now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(since).max(since);
            if let Some(found) = self.next(from, zone).filter(|time| *time <= now) {
                last = found;
                break;
            }
        }
        while let Some(next) = self.next(last, zone).filter(|time| *time <= now) {
            last = next;
        }
        Some(last)
    }
}

/// A day of the month or of the week will do where both are named, as cron has it.
fn is_day([_, _, days, months, weekdays]: &[Values; 5], day: Date) -> bool {
    let weekday = day.weekday().since(Weekday::Sunday);
    let (by_month, by_week) = (days.has(day.day()), weekdays.has(weekday));
    months.has(day.month()) && if days.any || weekdays.any { by_month && by_week } else { by_month || by_week }
}

/// A time that the clocks leave out on that day comes as much later.
fn times(fields: &[Values; 5], day: Date, zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
    let [minutes, hours, ..] = *fields;
    let at = move |(hour, minute)| zone.to_timestamp(day.at(hour, minute, 0, 0)).ok();
    let hours = (0..24).filter(move |hour| hours.has(*hour));
    hours
        .flat_map(move |hour| (0..60).filter(move |minute| minutes.has(*minute)).map(move |minute| (hour, minute)))
        .filter_map(at)
}

fn parse_range(range: &str, bounds: &Bounds) -> Result<Values, String> {
    let (values, step) = match range.split_once('/') {
        Some((values, step)) => (values, Some(step)),
        None => (range, None),
    };
    let every = match step.map(str::parse::<u32>) {
        None => 1,
        Some(Ok(0)) => return Err(format!("step of range should be a positive number: {range}")),
        Some(Ok(every)) => every,
        Some(Err(error)) => return Err(format!("failed to parse int from {}: {error}", step.unwrap_or_default())),
    };
    let any = matches!(values, "*" | "?");
    let (first, last) = match values.split_once('-') {
        _ if any => (bounds.first, bounds.last),
        Some((first, last)) => (value(first, bounds)?, value(last, bounds)?),
        None => {
            let only = value(values, bounds)?;
            // `5/15` goes on to the end.
            (only, if step.is_some() { bounds.last.max(only) } else { only })
        }
    };
    if first < bounds.first {
        return Err(format!("beginning of range ({first}) below minimum ({}): {range}", bounds.first));
    }
    if last > bounds.last {
        return Err(format!("end of range ({last}) above maximum ({}): {range}", bounds.last));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {range}"));
    }
    let chosen = (first..=last).step_by(usize::try_from(every).unwrap_or(usize::MAX));
    Ok(Values { bits: chosen.fold(0, |bits, value| bits | 1 << value), any: any && every == 1 })
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(value) = (bounds.first..).zip(bounds.names).find_map(|(value, name)| (*name == lower).then_some(value)) {
        return Ok(value);
    }
    text.parse().map_err(|error| format!("failed to parse int from {text}: {error}"))
}

/// Go's durations, such as `1h30m`.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, worth) = units.iter().filter(|(unit, _)| rest.starts_with(unit)).max_by_key(|(unit, _)| unit.len())?;
        seconds += number * worth;
        rest = &rest[unit.len()..];
    }
    SignedDuration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_cron_reads_them() {
        for (schedule, right) in [
            ("*/15 0-6,8 1,15 jan-MAR sun", true),
            ("0 0 ? * *", true),
            ("@daily", true),
            ("@every 1h30m", true),
            ("@often", false),
            ("@every soon", false),
            ("60 * * * *", false),
            ("* * 0 * *", false),
            ("5-1 * * * *", false),
            ("*/0 * * * *", false),
            ("* * * * 7", false),
            ("a * * * *", false),
            ("* * * *", false),
        ] {
            assert_eq!(Schedule::parse(schedule).is_ok(), right, "{schedule}: {:?}", Schedule::parse(schedule));
        }
    }

    #[test]
    fn the_next_time_is_by_the_clocks_of_the_zone() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a timestamp");
        let berlin = || TimeZone::get("Europe/Berlin").expect("is known");
        for (schedule, zone, after, next) in [
            ("* * * * *", TimeZone::UTC, "2026-03-01T12:00:30Z", Some("2026-03-01T12:01:00Z")),
            ("*/15 * * * *", TimeZone::UTC, "2026-03-01T12:45:00Z", Some("2026-03-01T13:00:00Z")),
            ("0 9 * * mon", TimeZone::UTC, "2026-03-01T12:00:00Z", Some("2026-03-02T09:00:00Z")),
            ("0 0 13 * fri", TimeZone::UTC, "2026-03-07T00:00:00Z", Some("2026-03-13T00:00:00Z")),
            ("0 0 10 * fri", TimeZone::UTC, "2026-03-07T00:00:00Z", Some("2026-03-10T00:00:00Z")),
            ("0 0 29 2 *", TimeZone::UTC, "2026-03-01T00:00:00Z", Some("2028-02-29T00:00:00Z")),
            ("0 0 30 2 *", TimeZone::UTC, "2026-03-01T00:00:00Z", None),
            ("30 6 * * *", berlin(), "2026-07-01T00:00:00Z", Some("2026-07-01T04:30:00Z")),
            ("@every 90s", TimeZone::UTC, "2026-03-01T12:00:00Z", Some("2026-03-01T12:01:30Z")),
        ] {
            let found = Schedule::parse(schedule).expect("parses").next(at(after), &zone);
            assert_eq!(found, next.map(at), "{schedule} after {after}");
        }
    }

    #[test]
    fn the_latest_time_is_found_however_long_ago_the_last_was() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a timestamp");
        let now = at("2026-03-01T12:00:30Z");
        for (schedule, since, latest) in [
            ("* * * * *", "2020-01-01T00:00:00Z", Some("2026-03-01T12:00:00Z")),
            ("0 0 1 1 *", "2020-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z")),
            ("* * * * *", "2026-03-01T12:00:10Z", None),
            ("@every 1h", "2026-03-01T09:30:00Z", Some("2026-03-01T11:30:00Z")),
        ] {
            let found = Schedule::parse(schedule).expect("parses").latest(at(since), now, &TimeZone::UTC);
            assert_eq!(found, latest.map(at), "{schedule} since {since}");
        }
    }
}
