//! From the text of a path to its steps.

use serde_json::Value;

use super::{End, Filter, Operand, Operator, Slice, Step};

/// # Errors
/// What is wrong with the path.
pub(super) fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = if let Some(after) = rest.strip_prefix("[?(") {
            let (inside, after) = filter_text(after)?;
            steps.push(Step::Filter(filter(inside)?));
            after
        } else if let Some(after) = rest.strip_prefix("..") {
            if steps.last() == Some(&Step::Below) {
                return Err("invalid multiple recursive descent".to_owned());
            }
            steps.push(Step::Below);
            if after.starts_with(|next: char| next == '_' || next.is_alphanumeric()) { field(after, &mut steps) } else { after }
        } else {
            let after = &rest[first.len_utf8()..];
            match first {
                ' ' | '@' | '$' => after,
                '[' => {
                    let (inside, after) = after.split_once(']').ok_or("unterminated array")?;
                    array(inside, &mut steps)?;
                    after
                }
                '.' => field(after, &mut steps),
                '"' | '\'' => {
                    let end = closing(after, first).ok_or("unterminated quoted string")?;
                    steps.push(Step::Nowhere);
                    &after[end + 1..]
                }
                first if first == '_' || first == '+' || first == '-' || first.is_alphanumeric() => {
                    steps.push(Step::Nowhere);
                    after.trim_start_matches(|next| !is_terminator(next))
                }
                other => return Err(format!("unrecognized character in action: {other:?}")),
            }
        };
    }
    Ok(steps)
}

fn is_terminator(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

/// A field name up to the next step; a backslash takes the next character as it is. Gives what follows.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut rest = "";
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            character if is_terminator(character) => {
                rest = &text[at..];
                break;
            }
            other => name.push(other),
        }
    }
    steps.push(if name == "*" { Step::All } else { Step::Field(name) });
    rest
}

/// Where a quote closes that is not escaped.
fn closing(text: &str, quote: char) -> Option<usize> {
    text.char_indices().find(|(at, character)| *character == quote && !text[..*at].ends_with('\\')).map(|(at, _)| at)
}

/// What stands in brackets.
fn array(inside: &str, into: &mut Vec<Step>) -> Result<(), String> {
    let parts: Vec<&str> = inside.split(',').collect();
    if parts.len() > 1 {
        let union = parts.into_iter().map(|part| steps(&format!("[{}]", part.trim_matches(' ')))).collect::<Result<_, _>>()?;
        into.push(Step::Union(union));
        return Ok(());
    }
    if let Some(key) = inside.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')) {
        into.extend(steps(&format!(".{key}"))?);
        return Ok(());
    }
    into.push(Step::Slice(slice(inside)?));
    Ok(())
}

fn slice(inside: &str) -> Result<Slice, String> {
    let inside = if inside == "*" { ":" } else { inside };
    let number = |text: &str| match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| format!("invalid array index {inside}")),
    };
    let mut parts = inside.split(':');
    let (start, end, step) = (parts.next().unwrap_or(""), parts.next(), parts.next());
    if parts.next().is_some() {
        return Err(format!("invalid array index {inside}"));
    }
    let end = match end.map(number).transpose()? {
        None => End::Next,
        Some(None) => End::Open,
        Some(Some(end)) => End::At(end),
    };
    Ok(Slice { start: number(start)?.unwrap_or(0), end, step: step.map(number).transpose()?.flatten() })
}

/// The text of a filter and what follows it.
fn filter_text(text: &str) -> Result<(&str, &str), String> {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (character, Some(open)) if character == open && !text[..at].ends_with('\\') => quote = None,
            (')', None) => {
                let after = text[at + 1..].strip_prefix(']').ok_or("unclosed array expect ]")?;
                return Ok((&text[..at], after));
            }
            _ => {}
        }
    }
    Err("unterminated filter".to_owned())
}

fn filter(text: &str) -> Result<Filter, String> {
    let is_sign = |character: char| matches!(character, '!' | '<' | '>' | '=');
    let Some(at) = text.find(is_sign).filter(|at| *at > 0) else {
        return Ok(Filter { left: steps(text)?, compared: None });
    };
    let (left, signed) = text.split_at(at);
    let right = signed.trim_start_matches(is_sign);
    let operator = match &signed[..signed.len() - right.len()] {
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        other => return Err(format!("unrecognized filter operator {other}")),
    };
    Ok(Filter { left: steps(left)?, compared: Some((operator, operand(right.trim())?)) })
}

fn operand(text: &str) -> Result<Operand, String> {
    if let Some(quote) = text.chars().next().filter(|first| matches!(first, '\'' | '"')) {
        let inner = &text[1..];
        let end = closing(inner, quote).ok_or("unterminated quoted string")?;
        return Ok(Operand::Literal(inner[..end].replace('\\', "").into()));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(literal @ (Value::Bool(_) | Value::Number(_))) => Ok(Operand::Literal(literal)),
        _ => steps(text).map(Operand::Path),
    }
}
