//! What `kubectl get` shows: ages and other short forms.

use jiff::Timestamp;
use serde_json::Value;

/// The age of an object as kubectl writes it, `<unknown>` when it has no creation time.
pub fn age(object: &Value, now: Timestamp) -> String {
    object
        .pointer("/metadata/creationTimestamp")
        .and_then(Value::as_str)
        .and_then(|text| text.parse::<Timestamp>().ok())
        .map_or_else(|| "<unknown>".to_owned(), |created| human_duration(now.as_second() - created.as_second()))
}

/// How long ago a timestamp was, `<unknown>` when it is none.
pub fn since(timestamp: &str, now: Timestamp) -> String {
    timestamp
        .parse::<Timestamp>()
        .map_or_else(|_| "<unknown>".to_owned(), |then| human_duration(now.as_second() - then.as_second()))
}

/// A text, or `<none>`.
pub fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// A duration in the two most significant units that Kubernetes shows (`apimachinery/pkg/util/duration`).
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds.max(0) {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * 365 * DAY => format!("{}d", s / DAY),
        s if s < 8 * 365 * DAY => two(s / (365 * DAY), "y", s % (365 * DAY) / DAY, "d"),
        s => format!("{}y", s / (365 * DAY)),
    }
}
