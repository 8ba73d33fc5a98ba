//! Regular expressions as Go reads them (RE2's syntax, <https://github.com/google/re2/wiki/Syntax>), in the words of the `regex`
//! crate: in it `[` and `--` mean more within a class, `{` means more outside of one, and `\w` takes letters of all scripts.

use std::iter::Peekable;
use std::str::CharIndices;

/// The same expression for the `regex` crate. What is wrong stays wrong.
pub(crate) fn translate(pattern: &str) -> String {
    let mut walk = Walk { pattern, rest: pattern.char_indices().peekable(), out: String::with_capacity(pattern.len() + 8) };
    while let Some((at, character)) = walk.rest.next() {
        match character {
            '\\' => walk.escape(false),
            '[' => walk.class(),
            '{' if !is_count(&pattern[at..]) => walk.out.push_str("\\{"),
            other => walk.out.push(other),
        }
    }
    walk.out
}

struct Walk<'a> {
    pattern: &'a str,
    rest: Peekable<CharIndices<'a>>,
    out: String,
}

impl Walk<'_> {
    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) {
        let Some((at, character)) = self.rest.next() else { return self.out.push('\\') };
        let (open, close) = if in_class { ("", "") } else { ("[", "]") };
        match character {
            'd' => self.out.extend([open, "0-9", close]),
            'w' => self.out.extend([open, "0-9A-Za-z_", close]),
            's' => self.out.extend([open, r"\t\n\f\r ", close]),
            'D' => self.out.push_str("[^0-9]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            'S' => self.out.push_str(r"[^\t\n\f\r ]"),
            'b' if !in_class => self.out.push_str(r"(?-u:\b)"),
            'Q' => self.quoted(at + 1),
            // Marks of words in the crate, and themselves in Go.
            '<' | '>' => self.out.push(character),
            other => self.out.extend(['\\', other]),
        }
    }

    /// Text up to `\E`, taken as it is.
    fn quoted(&mut self, from: usize) {
        let text = &self.pattern[from..];
        let end = text.find(r"\E").unwrap_or(text.len());
        self.out.push_str(&regex::escape(&text[..end]));
        while self.rest.next_if(|(at, _)| *at < from + end + r"\E".len()).is_some() {}
    }

    fn class(&mut self) {
        self.out.push('[');
        if self.rest.next_if(|(_, next)| *next == '^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        while let Some((at, character)) = self.rest.next() {
            let next = self.pattern[at + character.len_utf8()..].chars().next();
            match character {
                ']' if !is_first => return self.out.push(']'),
                '[' if next == Some(':') => match self.pattern[at..].find(":]") {
                    Some(end) => {
                        self.out.push_str(&self.pattern[at..at + end + 2]);
                        while self.rest.next_if(|(place, _)| *place < at + end + 2).is_some() {}
                    }
                    None => self.out.push_str("\\["),
                },
                '[' => self.out.push_str("\\["),
                ']' => self.out.push_str("\\]"),
                '\\' => self.escape(true),
                '&' | '~' if next == Some(character) => self.out.extend(['\\', character]),
                '-' if next == Some('-') => self.out.push_str("-\\"),
                other => self.out.push(other),
            }
            is_first = false;
        }
    }
}

/// `{2}`, `{2,}` or `{2,5}`; any other brace is a brace.
fn is_count(text: &str) -> bool {
    let Some((inside, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inside.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(inside),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn expressions_of_go_mean_what_they_mean_there() {
        for (pattern, matching, other) in [
            (r"^[^()<>@,;:\[/[\]?={}]+$", "abc", "a["),
            (r"^[[:alpha:]_[]+$", "a_[", "1"),
            (r"^[a&&b]+$", "a&b", "c"),
            (r"^[+--]+$", "+,-", "a"),
            (r"^[]a]+$", "]a", "b"),
            (r"^{{.+}}$", "{{x}}", "{x}"),
            (r"^\${[A-Z]+}$", "${A}", "$A"),
            (r"^a{2,3}$", "aaa", "a"),
            (r"^\w+$", "a1_", "é"),
            (r"^\d+$", "12", "١٢"),
            (r"^[\w.-]+$", "a.b-c", "é"),
            (r"^[^\s]+$", "ab", "a b"),
            (r"^\S+$", "ab", "a b"),
            (r"^\Qa.b[\E$", "a.b[", "axb["),
            (r"^\<a\>$", "<a>", "a"),
            (r"\bfoo\b", "a foo b", "afoo"),
        ] {
            let regex = Regex::new(&translate(pattern)).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(regex.is_match(matching), "{pattern} {matching}");
            assert!(!regex.is_match(other), "{pattern} {other}");
        }
        for wrong in [r"a(?=b)", r"(", r"[a", r"\1", r"a\"] {
            assert!(Regex::new(&translate(wrong)).is_err(), "{wrong}");
        }
    }
}
