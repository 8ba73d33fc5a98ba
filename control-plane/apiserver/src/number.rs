//! Numbers in parameters, with Go's words for what is none: clients see them in answers of Kubernetes.

use std::num::{IntErrorKind, ParseIntError};

/// # Errors
/// Why the text is no number of 64 bits (`strconv.ParseInt`).
pub(crate) fn signed(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error| complaint("ParseInt", text, &error))
}

/// # Errors
/// Why the text is no number of 64 bits without a sign (`strconv.ParseUint`).
pub(crate) fn unsigned(text: &str) -> Result<u64, String> {
    if text.starts_with('+') {
        return Err(syntax("ParseUint", text));
    }
    text.parse().map_err(|error| complaint("ParseUint", text, &error))
}

fn complaint(function: &str, text: &str, error: &ParseIntError) -> String {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => {
            format!("strconv.{function}: parsing {text:?}: value out of range")
        }
        _ => syntax(function, text),
    }
}

fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: invalid syntax")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_told_in_the_words_of_go() {
        assert_eq!((signed("-5"), signed("+5"), unsigned("7")), (Ok(-5), Ok(5), Ok(7)));
        assert_eq!(signed("1e3"), Err("strconv.ParseInt: parsing \"1e3\": invalid syntax".to_owned()));
        for text in ["", "-1", "+1", "xx"] {
            assert_eq!(unsigned(text), Err(format!("strconv.ParseUint: parsing {text:?}: invalid syntax")));
        }
        let long = "18446744073709551616";
        assert_eq!(unsigned(long), Err(format!("strconv.ParseUint: parsing \"{long}\": value out of range")));
    }
}
