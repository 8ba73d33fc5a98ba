//! Names that expressions of CEL can use (<https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax>).

/// Words that are no identifiers: literals, operators, and what the language keeps for later.
pub const CEL_RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether an expression can name a variable so.
pub fn is_cel_identifier(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    name.starts_with(letter) && name.chars().all(|next| letter(next) || next.is_ascii_digit()) && !CEL_RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_and_no_word_of_the_language() {
        for name in ["a", "_b1", "A_1", "inner"] {
            assert!(is_cel_identifier(name), "{name}");
        }
        for name in ["", "1a", "a b", "a-b", "é", "in", "namespace"] {
            assert!(!is_cel_identifier(name), "{name}");
        }
    }
}
