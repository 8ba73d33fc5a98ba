//! Field selectors (`apimachinery/pkg/fields`): `metadata.name=a,status.phase!=Running`.

use std::fmt;

use super::SelectorError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub path: String,
    /// `!=` instead of `=`.
    pub negated: bool,
    pub value: String,
}

/// A conjunction of comparisons; none at all select everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses a query's `fieldSelector`. Whether the kind knows the fields is the caller's check.
    ///
    /// # Errors
    /// When the text is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_terms(text).into_iter().filter(|term| !term.is_empty()) {
            let (path, negated, value) = split_term(term)
                .ok_or_else(|| SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
            requirements.push(FieldRequirement { path: path.to_owned(), negated, value: unescape(value)? });
        }
        Ok(Self { requirements })
    }

    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The one value that `path` must have, if the selector says so: lets a list of one object skip the others.
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.path == path && !r.negated).map(|r| r.value.as_str())
    }

    /// `field` gives a field's value; an absent field is empty.
    pub fn matches(&self, field: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements.iter().all(|r| (field(&r.path).unwrap_or_default() == r.value) != r.negated)
    }
}

impl FromIterator<FieldRequirement> for FieldSelector {
    fn from_iter<I: IntoIterator<Item = FieldRequirement>>(requirements: I) -> Self {
        Self { requirements: requirements.into_iter().collect() }
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let (comma, operator) = (if index > 0 { "," } else { "" }, if requirement.negated { "!=" } else { "=" });
            write!(f, "{comma}{}{operator}", requirement.path)?;
            for c in requirement.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let (at, (operator, negated)) = term.char_indices().find_map(|(at, _)| {
        [("!=", true), ("==", false), ("=", false)].into_iter().find(|(op, _)| term[at..].starts_with(op)).map(|op| (at, op))
    })?;
    Some((&term[..at], negated, &term[at + operator.len()..]))
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => value.push(next),
                Some(next) => return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{next}"))),
                None => return Err(SelectorError("invalid field selector: invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => return Err(SelectorError(format!("invalid field selector: unescaped character in value: {c}"))),
            c => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(path: &str) -> Option<String> {
        match path {
            "metadata.name" => Some("a".to_owned()),
            "status.phase" => Some("Run,n=ng\\".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn field_selectors_compare_whole_values() {
        for (selector, matches, canonical) in [
            ("", true, ""),
            ("metadata.name=a", true, "metadata.name=a"),
            ("metadata.name==a", true, "metadata.name=a"),
            ("metadata.name!=a", false, "metadata.name!=a"),
            ("status.phase=Run\\,n\\=ng\\\\", true, "status.phase=Run\\,n\\=ng\\\\"),
            ("metadata.name=a,status.phase!=x", true, "metadata.name=a,status.phase!=x"),
            ("missing=", true, "missing="),
            ("missing!=", false, "missing!="),
        ] {
            let parsed = FieldSelector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"));
            assert_eq!((parsed.matches(field), parsed.to_string().as_str()), (matches, canonical), "{selector}");
        }
        assert_eq!(FieldSelector::parse("a!=b,metadata.name=x").expect("parses").exact("metadata.name"), Some("x"));
    }

    #[test]
    fn wrong_field_selectors_are_refused() {
        assert_eq!(
            FieldSelector::parse("a=b,nonsense").expect_err("is none").to_string(),
            "invalid selector: 'a=b,nonsense'; can't understand 'nonsense'"
        );
        assert!(FieldSelector::parse("a=b=c").is_err());
        assert!(FieldSelector::parse("a=b\\c").is_err());
        assert!(FieldSelector::parse("a=b\\").is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_parses_again(text in "[a-c=!,\\\\.é]{0,24}") {
            if let Ok(selector) = FieldSelector::parse(&text) {
                prop_assert_eq!(FieldSelector::parse(&selector.to_string()), Ok(selector));
            }
        }
    }
}
