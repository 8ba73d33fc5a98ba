//! What of a log is asked for (`core/v1 PodLogOptions` as query parameters).

use jiff::{SignedDuration, Timestamp};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail_lines: Option<usize>,
    pub(crate) limit_bytes: Option<u64>,
    pub(crate) since: Option<Timestamp>,
}

impl LogOptions {
    /// # Errors
    /// Names the parameter that is wrong.
    pub(crate) fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut options = Self::default();
        let (mut since_seconds, mut since_time) = (false, false);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let flag = || matches!(value.as_ref(), "" | "1" | "true" | "True" | "TRUE" | "t");
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{name}: invalid value {value:?}: must be a number that is not negative"))
            };
            let positive = || match number()? {
                0 => Err(format!("{name}: invalid value {value:?}: must be greater than 0")),
                number => Ok(number),
            };
            match name.as_ref() {
                "follow" => options.follow = flag(),
                "previous" => options.previous = flag(),
                "timestamps" => options.timestamps = flag(),
                "tailLines" => options.tail_lines = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
                "limitBytes" => options.limit_bytes = Some(positive()?),
                "sinceSeconds" => {
                    since_seconds = true;
                    let seconds = i64::try_from(positive()?).unwrap_or(i64::MAX);
                    options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
                }
                "sinceTime" => {
                    since_time = true;
                    options.since =
                        Some(value.parse().map_err(|_| format!("sinceTime: invalid value {value:?}: must be RFC 3339"))?);
                }
                "stream" if !matches!(value.as_ref(), "" | "All") => {
                    return Err(format!("stream: unsupported value {value:?}: supported values: \"All\""));
                }
                _ => {}
            }
        }
        if since_seconds && since_time {
            return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned());
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_wrong_ones_named() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("is a time");
        let options = LogOptions::parse("container=c&follow=true&tailLines=5&sinceSeconds=60&limitBytes=9&timestamps=true", now)
            .expect("parses");
        assert_eq!((options.follow, options.timestamps, options.previous), (true, true, false));
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(5), Some(9)));
        assert_eq!(options.since, "2026-01-01T00:00:00Z".parse().ok());
        assert!(LogOptions::parse("tailLines=-1", now).expect_err("is wrong").starts_with("tailLines:"));
        assert!(LogOptions::parse("sinceTime=yesterday", now).expect_err("is wrong").starts_with("sinceTime:"));
        for (query, field) in [
            ("sinceSeconds=0", "sinceSeconds:"),
            ("sinceSeconds=-5", "sinceSeconds:"),
            ("limitBytes=0", "limitBytes:"),
            ("stream=Stderr", "stream:"),
            ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "at most one of"),
        ] {
            assert!(LogOptions::parse(query, now).expect_err("is wrong").starts_with(field), "{query}");
        }
        assert!(LogOptions::parse("stream=All&tailLines=0", now).is_ok());
    }
}
