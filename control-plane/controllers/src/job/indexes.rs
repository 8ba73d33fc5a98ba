//! Sets of completion indexes as a job's status writes them: `1,3-5,7`.

use std::collections::BTreeSet;

/// The indexes named, those below `end` only; what does not parse is left out.
pub(super) fn parse(text: &str, end: i32) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend(first.max(0)..last.saturating_add(1).min(end));
        }
    }
    indexes
}

pub(super) fn format(indexes: &BTreeSet<i32>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut indexes = indexes.iter().copied().peekable();
    while let Some(first) = indexes.next() {
        let mut last = first;
        while let Some(next) = indexes.next_if_eq(&(last + 1)) {
            last = next;
        }
        parts.push(match last - first {
            0 => first.to_string(),
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_indexes_are_written_as_ranges() {
        for text in ["", "0", "1,2", "1,3-5,7", "0-99"] {
            assert_eq!(format(&parse(text, 100)), text);
        }
        assert_eq!(format(&parse("1-1000000000,x,4", 5)), "1-4");
    }
}
