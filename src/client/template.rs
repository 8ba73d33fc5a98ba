//! `-o jsonpath`: text with `{paths}` in it (`client-go/util/jsonpath`), `{range path} … {end}` and `{"text"}`.

use mizzen_extensions::custom::JsonPath;
use serde_json::Value;

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Path(JsonPath),
    Range(JsonPath, Vec<Part>),
}

impl Template {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A path alone needs no braces.
        let whole = if text.contains('{') { text.to_owned() } else { format!("{{{text}}}") };
        let mut rest = whole.as_str();
        let parts = parts(&mut rest, false)?;
        Ok(Self(parts))
    }

    /// The template with what its paths find. What is not there leaves no trace.
    pub fn fill(&self, document: &Value) -> String {
        let mut text = String::new();
        fill(&self.0, document, &mut text);
        text
    }
}

fn fill(parts: &[Part], document: &Value, text: &mut String) {
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Path(path) => {
                let found: Vec<String> = path.find(document).into_iter().map(plain).collect();
                text.push_str(&found.join(" "));
            }
            Part::Range(path, inner) => path.find(document).into_iter().for_each(|item| fill(inner, item, text)),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The parts up to the end, or to `{end}` within a range.
fn parts(rest: &mut &str, in_range: bool) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    loop {
        let Some((before, after)) = rest.split_once('{') else {
            if in_range {
                return Err("unclosed range: {end} is missing".to_owned());
            }
            parts.extend((!rest.is_empty()).then(|| Part::Text((*rest).to_owned())));
            return Ok(parts);
        };
        parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
        let end = closing(after).ok_or("unclosed action: a brace is missing")?;
        let action = after[..end].trim();
        *rest = &after[end + 1..];
        if action == "end" {
            return if in_range { Ok(parts) } else { Err("not in range, nothing to end".to_owned()) };
        }
        parts.push(match (action.strip_prefix("range "), quoted(action)) {
            (Some(path), _) => Part::Range(path_of(path)?, self::parts(rest, true)?),
            (None, Some(text)) => Part::Text(text),
            (None, None) => Part::Path(path_of(action)?),
        });
    }
}

/// Where the brace closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (character, quote) {
            ('\\', Some(_)) => drop(characters.next()),
            ('\'' | '"', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            ('}', None) => return Some(at),
            _ => {}
        }
    }
    None
}

/// `"text"` or `'text'` with the escapes of Go that people use.
fn quoted(action: &str) -> Option<String> {
    let inner = ['"', '\''].into_iter().find_map(|quote| action.strip_prefix(quote)?.strip_suffix(quote))?;
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.extend(match character {
            '\\' => characters.next().map(|escaped| match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            other => Some(other),
        });
    }
    Some(text)
}

/// A path with or without its first dot; `@` and `$` are the document.
fn path_of(text: &str) -> Result<JsonPath, String> {
    let text = text.trim();
    let text = text.strip_prefix(['@', '$']).unwrap_or(text);
    let dot = if text.is_empty() || text.starts_with(['.', '[']) { "" } else { "." };
    JsonPath::parse(&format!("{dot}{text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> String {
        let pod = |name: &str, ready: &str| {
            json!({"metadata": {"name": name, "labels": {"a.b/c": "x"}},
                "status": {"podIP": format!("10.0.0.{}", name.len()), "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let list = json!({"items": [pod("a", "True"), pod("bb", "False")], "n": 3, "o": {"k": [1]}});
        Template::parse(template).expect("parses").fill(&list)
    }

    #[test]
    fn paths_are_filled_in() {
        assert_eq!(filled("{.items[*].metadata.name}"), "a bb");
        assert_eq!(filled(".items[0].status.podIP"), "10.0.0.1");
        assert_eq!(filled("{$.items[-1].metadata.name}{.nothing}"), "bb");
        assert_eq!(filled("n={.n} o={.o}"), r#"n=3 o={"k":[1]}"#);
        assert_eq!(filled(r"{.items[0].metadata.labels.a\.b/c}"), "x");
        assert_eq!(filled(r#"{.items[0].status.conditions[?(@.type=="Ready")].status}"#), "True");
    }

    #[test]
    fn ranges_and_texts_are_written_for_each() {
        assert_eq!(filled(r#"{range .items[*]}{.metadata.name}{"\t"}{.status.podIP}{"\n"}{end}"#), "a\t10.0.0.1\nbb\t10.0.0.2\n");
        let nested = r#"{range .items[*]}{@.metadata.name}{range .status.conditions[*]}={.status}{end};{end}"#;
        assert_eq!(filled(nested), "a=True;bb=False;");
        assert_eq!(filled(r"{.n}{'}'}"), "3}");
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for wrong in ["{.a", "{range .items[*]}{.a}", "{end}", "{....a}"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
