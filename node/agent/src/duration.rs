//! Durations as Kubernetes' messages have them, which print them as Go does.

use std::time::Duration;

/// To the millisecond: `350ms`, `1.2s`, `1m20s`, `5m0s`, `1h0m0s`.
pub(crate) fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    let fraction = format!("{:03}", millis % 1000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{point}{fraction}s", millis / 1000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_gos() {
        for (millis, wanted) in [
            (0, "0s"),
            (350, "350ms"),
            (1200, "1.2s"),
            (1204, "1.204s"),
            (10_000, "10s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (3_661_500, "1h1m1.5s"),
        ] {
            assert_eq!(text(Duration::from_millis(millis)), wanted);
        }
    }
}
