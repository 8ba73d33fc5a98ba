//! The one place where a shim reads the clock.

/// Now, as RFC 3339 in UTC with nanoseconds, always of the same length.
#[expect(clippy::disallowed_methods, reason = "a shim stamps what the kernel tells it; nothing here is simulated")]
pub fn now() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_time_has_nine_decimals_and_is_utc() {
        let now = super::now();
        assert_eq!(now.len(), "2016-10-06T00:17:09.669794202Z".len());
        assert!(now.ends_with('Z'));
    }
}
