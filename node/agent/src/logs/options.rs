//! What of a log is asked for (`core/v1 PodLogOptions` as query parameters).

use jiff::{SignedDuration, Timestamp};
use mizzen_api::Status;
use mizzen_api::validate::{forbidden, invalid, not_supported};

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
    /// As the API server answers: 400 for what cannot be read, 422 for what can be read and means nothing.
    pub(crate) fn parse(query: &str, pod: &str, now: Timestamp) -> Result<Self, Status> {
        let mut options = Self::default();
        let mut causes = Vec::new();
        let (mut since_seconds, mut since_time) = (false, false);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            // Anything else is true to Kubernetes, also nothing.
            let flag = || value != "0" && !value.eq_ignore_ascii_case("false");
            let number = || {
                let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"));
                value.parse::<i64>().map_err(wrong)
            };
            match name.as_ref() {
                "follow" => options.follow = flag(),
                "previous" => options.previous = flag(),
                "timestamps" => options.timestamps = flag(),
                "tailLines" => match number()? {
                    lines @ ..0 => causes.push(invalid(name, &lines.into(), "must be greater than or equal to 0")),
                    lines => options.tail_lines = Some(usize::try_from(lines).unwrap_or(usize::MAX)),
                },
                "limitBytes" => match number()? {
                    bytes @ ..1 => causes.push(invalid(name, &bytes.into(), "must be greater than 0")),
                    bytes => options.limit_bytes = u64::try_from(bytes).ok(),
                },
                "sinceSeconds" => {
                    since_seconds = true;
                    match number()? {
                        seconds @ ..1 => causes.push(invalid(name, &seconds.into(), "must be greater than 0")),
                        // Longer ago than can be written down is everything.
                        seconds => options.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok(),
                    }
                }
                "sinceTime" if !value.is_empty() => {
                    since_time = true;
                    let wrong = |_| {
                        Status::bad_request(format!(
                            "parsing time {value:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {value:?} as RFC 3339"
                        ))
                    };
                    options.since = Some(value.parse().map_err(wrong)?);
                }
                "stream" if !matches!(value.as_ref(), "" | "All") => causes.push(not_supported(name, &value, &["All"])),
                _ => {}
            }
        }
        if since_seconds && since_time {
            causes.push(forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"));
        }
        if causes.is_empty() { Ok(options) } else { Err(Status::invalid("PodLogOptions", pod, causes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<LogOptions, Status> {
        LogOptions::parse(query, "p", "2026-01-01T00:01:00Z".parse().expect("is a time"))
    }

    #[test]
    fn parameters_are_read() {
        let options =
            parse("container=c&follow=true&tailLines=5&sinceSeconds=60&limitBytes=9&timestamps=true&previous=0").expect("parses");
        assert_eq!((options.follow, options.timestamps, options.previous), (true, true, false));
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(5), Some(9)));
        assert_eq!(options.since, "2026-01-01T00:00:00Z".parse().ok());
        assert!(parse("stream=All&tailLines=0&sinceTime=").is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_a_bad_request_and_what_means_nothing_is_invalid() {
        for query in ["tailLines=many", "limitBytes=1.5", "sinceSeconds=", "sinceTime=yesterday"] {
            assert_eq!(parse(query).expect_err("is wrong").code, 400, "{query}");
        }
        for (query, message) in [
            ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
            ("limitBytes=-5", "limitBytes: Invalid value: -5: must be greater than 0"),
            ("stream=Stderr", "stream: Unsupported value: \"Stderr\": supported values: \"All\""),
            (
                "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
                ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
        ] {
            let status = parse(query).expect_err("is wrong");
            assert_eq!((status.code, status.message), (422, format!("PodLogOptions \"p\" is invalid: {message}")));
        }
        let both = parse("tailLines=-1&limitBytes=0").expect_err("is wrong");
        let fields: Vec<_> = both.details.causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["tailLines", "limitBytes"]);
    }
}
