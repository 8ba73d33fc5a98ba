//! The formats of strings that are checked; unknown ones mean nothing (API documentation, "formats").

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use jiff::civil::Date;

/// Whether `text` is of the format; true for formats that are not known.
pub(super) fn is_valid(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<Timestamp>().is_ok(),
        "date" => text.parse::<Date>().is_ok() && text.len() == 10,
        "duration" => is_duration(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some(b'3')),
        "uuid4" => is_uuid(text, Some(b'4')),
        "uuid5" => is_uuid(text, Some(b'5')),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "byte" => mizzen_api::validate::base64(text).is_ok(),
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && is_host(host) && !text.contains(' ')),
        "hostname" => is_host(text),
        "uri" => is_uri(text),
        "hexcolor" => {
            let digits = text.strip_prefix('#').unwrap_or(text);
            matches!(digits.len(), 3 | 6) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "k8s-short-name" => mizzen_api::validate::dns1123_label(text).is_empty(),
        "k8s-long-name" => mizzen_api::validate::dns1123_subdomain(text).is_empty(),
        _ => true,
    }
}

/// A duration as Go writes it (`1h30m`), or in words (`3 days`).
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 25] = [
        "ns", "us", "µs", "ms", "s", "m", "h", "nano", "nanos", "micro", "micros", "milli", "millis", "sec", "secs", "second",
        "seconds", "min", "mins", "minute", "minutes", "hour", "hours", "day", "days",
    ];
    let mut rest = text.trim().trim_start_matches(['-', '+']);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        if number == 0 || rest[..number].parse::<f64>().is_err() {
            return false;
        }
        rest = rest[number..].trim_start();
        let unit = rest.len() - rest.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let name = &rest[..unit];
        if !UNITS.contains(&name) && !matches!(name, "d" | "w" | "week" | "weeks") {
            return false;
        }
        rest = rest[unit..].trim_start();
        parts += 1;
    }
    parts > 0
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
        && version.is_none_or(|version| bytes[14] == version)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(length) = length.parse::<u8>() else { return false };
    (address.parse::<Ipv4Addr>().is_ok() && length <= 32) || (address.parse::<Ipv6Addr>().is_ok() && length <= 128)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8) && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

/// An absolute URI, or an absolute path, as Go's `url.ParseRequestURI` takes them.
fn is_uri(text: &str) -> bool {
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return false;
    }
    text.starts_with('/')
        || text.split_once(':').is_some_and(|(scheme, rest)| {
            !rest.is_empty()
                && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_checked_and_unknown_ones_pass() {
        for (format, good, bad) in [
            ("date-time", "2026-01-01T00:00:00Z", "2026-01-01"),
            ("date", "2026-01-01", "2026-13-01"),
            ("duration", "1h30m", "1x"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "::1", "1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:11:22:33:44:55", "00:11"),
            ("byte", "YQ==", "%"),
            ("email", "a@example.com", "a"),
            ("hostname", "a.example.com", "a..b"),
            ("uri", "https://example.com/a", "not a uri"),
            ("k8s-short-name", "abc", "A"),
        ] {
            assert!(is_valid(format, good), "{format} {good}");
            assert!(!is_valid(format, bad), "{format} {bad}");
        }
        assert!(is_valid("unheard-of", "x"));
    }
}
