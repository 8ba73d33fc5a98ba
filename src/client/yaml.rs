//! YAML as kubectl writes it: what a reader of YAML 1.1 would take for a number, a truth value or a time stands in quotes.

use serde_json::Value;

/// A document.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut text, map, 0, false),
        Value::Array(items) if !items.is_empty() => sequence(&mut text, items, 0),
        plain => {
            scalar(&mut text, plain, 0);
            text.push('\n');
        }
    }
    text
}

/// `inline`: the first key stands behind the dash of an item.
fn mapping(text: &mut String, map: &serde_json::Map<String, Value>, depth: usize, inline: bool) {
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 || !inline {
            indent(text, depth);
        }
        text.push_str(&one_line(key));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                mapping(text, inner, depth + 1, false);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                sequence(text, items, depth);
            }
            plain => {
                text.push(' ');
                scalar(text, plain, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn sequence(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(text, depth);
        text.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => mapping(text, map, depth + 1, true),
            Value::Array(inner) if !inner.is_empty() => {
                // The first item of the inner one stands behind the dash.
                let mut below = String::new();
                sequence(&mut below, inner, depth + 1);
                text.push_str(below.trim_start_matches(' '));
            }
            plain => {
                scalar(text, plain, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(string) if is_block(string) => block(text, string, depth),
        Value::String(string) => text.push_str(&one_line(string)),
        other => text.push_str(&other.to_string()),
    }
}

/// Whether every line can stand as it is.
fn is_block(string: &str) -> bool {
    string.contains('\n')
        && !string.starts_with([' ', '\n'])
        && string.chars().all(|character| character == '\n' || is_plain_character(character))
        && string.lines().all(|line| !line.ends_with(' '))
}

fn block(text: &mut String, string: &str, depth: usize) {
    let ends = string.len() - string.trim_end_matches('\n').len();
    text.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in string.strip_suffix('\n').unwrap_or(string).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            indent(text, depth);
            text.push_str(line);
        }
    }
}

fn one_line(string: &str) -> String {
    let plain = |string: &str| string.chars().all(is_plain_character);
    if string.is_empty() || !plain(string) || means_something_else(string) {
        return in_double_quotes(string);
    }
    let first_is_free = !string.starts_with(['#', ',', '[', ']', '{', '}', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`']);
    let marks = ["-", "?", ":"].iter().any(|mark| string == *mark || string.starts_with(&format!("{mark} ")));
    let separates = string.contains(": ") || string.ends_with(':') || string.contains(" #");
    let bare = string.trim() == string && !string.starts_with("---") && !string.starts_with("...");
    if first_is_free && !marks && !separates && bare { string.to_owned() } else { format!("'{}'", string.replace('\'', "''")) }
}

/// JSON's strings are YAML's in double quotes, but for what YAML takes for the end of a line or does not show.
fn in_double_quotes(string: &str) -> String {
    let json = Value::from(string).to_string();
    let escaped = |character: char| match is_plain_character(character) {
        true => character.to_string(),
        false => format!("\\u{:04x}", u32::from(character)),
    };
    json.chars().map(escaped).collect()
}

fn is_plain_character(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a reader of YAML 1.1 would take the bare word for something else than text.
fn means_something_else(word: &str) -> bool {
    const WORDS: [&str; 12] = ["~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<", "="];
    WORDS.contains(&word.to_lowercase().as_str()) || is_number(word) || is_time(word)
}

fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']).replace('_', "").to_lowercase();
    let in_base = |prefix: &str, radix| {
        digits.strip_prefix(prefix).is_some_and(|digits| !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix)))
    };
    let begins_so = digits.starts_with(|character: char| character.is_ascii_digit() || character == '.');
    // Of base 60: 1:30.
    let parts: Vec<&str> = digits.split(':').collect();
    let sexagesimal = parts.len() > 1
        && parts.iter().all(|part| !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit() || digit == '.'));
    [".inf", ".nan"].contains(&digits.as_str())
        || in_base("0x", 16)
        || in_base("0o", 8)
        || in_base("0b", 2)
        || (begins_so && (digits.parse::<f64>().is_ok() || sexagesimal))
}

/// `2026-01-31`, alone or with a time of day.
fn is_time(word: &str) -> bool {
    let (date, rest) = word.split_at_checked(10).unwrap_or((word, ""));
    let shape = |(at, byte): (usize, u8)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
    date.len() == 10 && date.bytes().enumerate().all(shape) && (rest.is_empty() || rest.starts_with(['T', 't', ' ']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_written_as_kubectl_writes_it() {
        let object =
            json!({"a": {"list": ["x", {"k": 1, "l": []}, ["in", ["deep"]]], "none": {}}, "n": null, "s": "two\nlines\n"});
        let expected =
            "a:\n  list:\n  - x\n  - k: 1\n    l: []\n  - - in\n    - - deep\n  none: {}\n\"n\": null\ns: |\n  two\n  lines\n";
        assert_eq!(document(&object), expected);
        assert_eq!(document(&json!([])), "[]\n");
    }

    #[test]
    fn text_that_looks_like_something_else_stands_in_quotes() {
        for word in [
            "1",
            "-1.5",
            "1e3",
            "0x1f",
            "1_000",
            "12:30",
            "true",
            "Yes",
            "null",
            "~",
            "2026-11-21T22:25:06Z",
            "2026-11-21",
            ".inf",
            "",
        ] {
            assert_eq!(one_line(word), format!("\"{word}\""));
        }
        for word in ["a", "1.2.3.4", "127.0.0.1:5055/web:v1", "-f", "sha256:12", "10.0.0.0/8", "1Gi", "v1", "a#b", "2026", "e3"] {
            let bare = word != "2026";
            assert_eq!(one_line(word) == word, bare, "{word}");
        }
        for (word, written) in [
            ("a: b", "'a: b'"),
            ("it's: b", "'it''s: b'"),
            ("[x]", "'[x]'"),
            ("- x", "'- x'"),
            (" x", "' x'"),
            ("tab\there", "\"tab\\there\""),
            ("\u{1b}[2J", "\"\\u001b[2J\""),
        ] {
            assert_eq!(one_line(word), written);
        }
    }

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        for text in [
            "\n",
            "a\n",
            "a\n\n",
            "a\n\nb",
            " a\nb",
            "a \nb",
            "a\n  b\n",
            "#",
            "x #y",
            "x:",
            ":",
            "- ",
            "?",
            "%a",
            "a\u{2028}b",
            "\r\n",
            "0o17",
            "=",
            "---",
        ] {
            let object = json!({"key": text, "list": [text, {"in": text}], text: "as a key"});
            let read: Value = serde_yaml_ng::from_str(&document(&object)).expect("is YAML");
            assert_eq!(read, object, "{}", document(&object));
        }
    }
}
