//! One line of a log in the CRI format: `<RFC 3339 time> <stdout|stderr> <F|P> <text>`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) time: &'a str,
    /// The line goes on in the next one.
    pub(crate) partial: bool,
    pub(crate) text: &'a str,
}

/// `None` for what is not such a line. A final line break is not part of the text.
pub(crate) fn parse(raw: &str) -> Option<Line<'_>> {
    let raw = raw.strip_suffix('\n').unwrap_or(raw);
    let (time, rest) = raw.split_once(' ')?;
    let (stream, rest) = rest.split_once(' ')?;
    let (tag, text) = rest.split_once(' ').unwrap_or((rest, ""));
    if stream != "stdout" && stream != "stderr" {
        return None;
    }
    Some(Line { time, partial: tag.split(':').any(|tag| tag == "P"), text })
}

impl Line<'_> {
    pub(crate) fn text_with_end(&self) -> String {
        if self.partial { self.text.to_owned() } else { format!("{}\n", self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_partial_lines_are_read_and_others_are_not() {
        let full = parse("2026-01-01T00:00:00.5Z stdout F a b\n").expect("is a line");
        assert_eq!(full, Line { time: "2026-01-01T00:00:00.5Z", partial: false, text: "a b" });
        assert_eq!(parse("t stderr P x").expect("is a line").text_with_end(), "x");
        assert_eq!(parse("t stdout F ").expect("is a line").text_with_end(), "\n");
        assert_eq!(parse("t stdout F\n").expect("is a line").text, "");
        assert_eq!(parse("no line"), None);
        assert_eq!(parse("t other F x"), None);
    }
}
