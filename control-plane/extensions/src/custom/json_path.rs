//! The simple JSONPath of printer columns: fields, places, wildcards and filters by equality
//! (`client-go/util/jsonpath`, without ranges of text).

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From the end when negative.
    Index(i64),
    All,
    /// `?(@.path == value)`; the flag is false for `!=`.
    Filter(Vec<Step>, bool, Value),
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

impl JsonPath {
    /// # Errors
    /// What is wrong with the path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let inner = inner.strip_prefix('$').unwrap_or(inner);
        Ok(Self { steps: steps(inner)? })
    }

    /// Everything in the document that the path leads to.
    pub fn find<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        find(&self.steps, document)
    }
}

fn find<'a>(steps: &[Step], document: &'a Value) -> Vec<&'a Value> {
    steps.iter().fold(vec![document], |found, step| found.into_iter().flat_map(|value| next(step, value)).collect())
}

fn next<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let Some(items) = value.as_array() else { return Vec::new() };
            let index = if *index < 0 { items.len() as i64 + index } else { *index };
            usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
        }
        Step::All => match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(object) => object.values().collect(),
            _ => Vec::new(),
        },
        Step::Filter(path, equal, wanted) => {
            let Some(items) = value.as_array() else { return Vec::new() };
            items.iter().filter(|item| find(path, item).first().is_some_and(|found| (*found == wanted) == *equal)).collect()
        }
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after).ok_or("unterminated array")?;
            steps.push(bracket(&after[..end])?);
            &after[end + 1..]
        } else if let Some(after) = rest.strip_prefix('.') {
            if after.starts_with('.') {
                return Err("recursive descent is not supported".to_owned());
            }
            if after.starts_with('[') {
                after
            } else {
                let (name, after) = field(after)?;
                steps.push(if name == "*" { Step::All } else { Step::Field(name) });
                after
            }
        } else {
            return Err(format!("unrecognized character in action: {:?}", rest.chars().next().unwrap_or(' ')));
        };
    }
    Ok(steps)
}

/// A field name up to the next step; a backslash takes the next character as it is.
fn field(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return finish(name, &text[at..]),
            other => name.push(other),
        }
    }
    finish(name, "")
}

fn finish(name: String, rest: &str) -> Result<(String, &str), String> {
    if name.is_empty() { Err("a field name is missing".to_owned()) } else { Ok((name, rest)) }
}

/// Where the bracket closes, outside of quotes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, character) in text.char_indices() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            ('[', None) => depth += 1,
            (']', None) if depth == 0 => return Some(at),
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inside: &str) -> Result<Step, String> {
    let inside = inside.trim();
    if inside == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = quoted(inside) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|filter| filter.strip_suffix(')')) {
        let (equal, (path, wanted)) = match (filter.split_once("=="), filter.split_once("!=")) {
            (Some(parts), _) => (true, parts),
            (None, Some(parts)) => (false, parts),
            (None, None) => return Err(format!("unrecognized filter {filter:?}")),
        };
        let path = path.trim().strip_prefix('@').ok_or("a filter begins with @")?;
        let wanted = wanted.trim();
        let wanted = match quoted(wanted) {
            Some(text) => Value::String(text.to_owned()),
            None => serde_json::from_str(wanted).map_err(|_| format!("unrecognized value {wanted:?} in filter"))?,
        };
        return Ok(Step::Filter(steps(path)?, equal, wanted));
    }
    inside.parse().map(Step::Index).map_err(|_| format!("invalid array index {inside}"))
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote)).then_some(inner)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_fields_places_and_filtered_items() {
        let document = json!({"spec": {"a": 1, "a.b": 2, "list": [{"n": "x"}, {"n": "y"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        for (path, found) in [
            (".spec.a", json!([1])),
            (r".spec.a\.b", json!([2])),
            (".spec['a.b']", json!([2])),
            (".spec.list[1].n", json!(["y"])),
            (".spec.list[-1].n", json!(["y"])),
            (".spec.list[*].n", json!(["x", "y"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type!='Ready')].status", json!(["False"])),
            (".missing.deeper", json!([])),
            ("{.spec.a}", json!([1])),
        ] {
            let parsed = JsonPath::parse(path).expect(path);
            assert_eq!(json!(parsed.find(&document)), found, "{path}");
        }
        for path in ["spec", ".spec[", ".spec.[x]", "..a", ".a[?(b)]"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
