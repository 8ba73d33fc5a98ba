//! The form of a schedule: five fields, or a word such as `@daily`.

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const WORDS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

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

/// # Errors
/// What is wrong with the schedule.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if let Some(every) = schedule.strip_prefix("@every ") {
        return check_duration(every).ok_or_else(|| format!("failed to parse duration {schedule}"));
    }
    if schedule.starts_with('@') {
        let known = WORDS.contains(&schedule);
        return if known { Ok(()) } else { Err(format!("unrecognized descriptor: {schedule}")) };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly {} fields, found {}: {fields:?}", FIELDS.len(), fields.len()));
    }
    fields.iter().zip(&FIELDS).try_for_each(|(field, bounds)| field.split(',').try_for_each(|range| check_range(range, bounds)))
}

fn check_range(range: &str, bounds: &Bounds) -> Result<(), String> {
    let (values, step) = match range.split_once('/') {
        Some((values, step)) => (values, Some(step)),
        None => (range, None),
    };
    if let Some(step) = step {
        match step.parse::<u32>() {
            Ok(0) => return Err(format!("step of range should be a positive number: {range}")),
            Ok(_) => {}
            Err(error) => return Err(format!("failed to parse int from {step}: {error}")),
        }
    }
    if matches!(values, "*" | "?") {
        return Ok(());
    }
    let (first, last) = match values.split_once('-') {
        Some((first, last)) => (value(first, bounds)?, value(last, bounds)?),
        None => {
            let only = value(values, bounds)?;
            (only, only)
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
    Ok(())
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(value) = (bounds.first..).zip(bounds.names).find_map(|(value, name)| (*name == lower).then_some(value)) {
        return Ok(value);
    }
    text.parse().map_err(|error| format!("failed to parse int from {text}: {error}"))
}

/// Go's durations, such as `1h30m`.
fn check_duration(text: &str) -> Option<()> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        rest = &rest[digits..];
        let unit =
            ["ns", "us", "µs", "ms", "s", "m", "h"].iter().filter(|unit| rest.starts_with(**unit)).max_by_key(|u| u.len())?;
        rest = &rest[unit.len()..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::check;

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
            assert_eq!(check(schedule).is_ok(), right, "{schedule}: {:?}", check(schedule));
        }
    }
}
