//! The JSONPath of printer columns, as `client-go/util/jsonpath` reads and follows it, without ranges of text.

mod parse;

use std::cmp::Ordering;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Slice(Slice),
    All,
    /// `..`: the value and everything below it.
    Below,
    Union(Vec<Vec<Step>>),
    Filter(Filter),
    /// A word or a literal, which leads nowhere in a document.
    Nowhere,
}

/// `[start:end:step]`; negative places count from the end. `[start]` is a slice of one.
#[derive(Clone, Debug, PartialEq)]
struct Slice {
    start: i64,
    end: End,
    step: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    At(i64),
    /// After the start.
    Next,
    Open,
}

/// `?(left operator right)`, or `?(left)`: whether there is something.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Vec<Step>,
    compared: Option<(Operator, Operand)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
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
        Ok(Self { steps: parse::steps(inner)? })
    }

    /// Everything in the document that the path leads to: nothing where the path does not fit the document.
    pub fn find<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        find(&self.steps, document).unwrap_or_default()
    }
}

/// A path that does not fit: a place in what is no list, or things compared that cannot be.
struct Unfit;

fn find<'a>(steps: &[Step], from: &'a Value) -> Result<Vec<&'a Value>, Unfit> {
    let mut found = vec![from];
    for step in steps {
        let mut next = Vec::new();
        for value in found.into_iter().filter(|value| !value.is_null() || matches!(step, Step::Union(_))) {
            follow(step, value, &mut next)?;
        }
        found = next;
    }
    Ok(found)
}

fn follow<'a>(step: &Step, value: &'a Value, found: &mut Vec<&'a Value>) -> Result<(), Unfit> {
    match step {
        Step::Field(name) => found.extend(value.get(name)),
        Step::Slice(slice) => found.extend(slice.of(value.as_array().ok_or(Unfit)?)?),
        Step::All => found.extend(children(value)),
        Step::Below => below(value, found),
        Step::Union(paths) => {
            for path in paths {
                found.extend(find(path, value)?);
            }
        }
        Step::Filter(filter) => {
            for item in value.as_array().ok_or(Unfit)? {
                if filter.keeps(item)? {
                    found.push(item);
                }
            }
        }
        Step::Nowhere => return Err(Unfit),
    }
    Ok(())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(object) => object.values().collect(),
        _ => Vec::new(),
    }
}

fn below<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    let children = children(value);
    if !children.is_empty() {
        found.push(value);
        children.into_iter().for_each(|child| below(child, found));
    }
}

impl Slice {
    fn of<'a>(&self, items: &'a [Value]) -> Result<Vec<&'a Value>, Unfit> {
        let length = i64::try_from(items.len()).map_err(|_| Unfit)?;
        let from_end = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
        let start = from_end(self.start);
        let end = match self.end {
            End::At(end) => from_end(end),
            End::Next => start.saturating_add(1),
            End::Open => length,
        };
        if start == end {
            return Ok(Vec::new());
        }
        let place = |place: i64| usize::try_from(place).map_err(|_| Unfit);
        let within = items.get(place(start)?..place(end)?).ok_or(Unfit)?;
        let step = place(self.step.unwrap_or(1))?;
        if step == 0 {
            return Err(Unfit);
        }
        Ok(within.iter().step_by(step).collect())
    }
}

impl Filter {
    fn keeps(&self, item: &Value) -> Result<bool, Unfit> {
        let left = find(&self.left, item);
        let Some((operator, right)) = &self.compared else { return Ok(left.is_ok_and(|left| !left.is_empty())) };
        let right = match right {
            Operand::Literal(value) => vec![value],
            Operand::Path(path) => find(path, item)?,
        };
        match (left?.as_slice(), right.as_slice()) {
            ([left], [right]) => operator.holds(left, right).ok_or(Unfit),
            ([], _) | (_, []) => Ok(false),
            _ => Err(Unfit),
        }
    }
}

impl Operator {
    /// `None` for what cannot be compared.
    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        let order = match (left, right) {
            (Value::String(left), Value::String(right)) => left.cmp(right),
            (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?)?,
            (Value::Bool(left), Value::Bool(right)) if matches!(self, Self::Equal | Self::NotEqual) => left.cmp(right),
            _ => return None,
        };
        Some(match self {
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_where_those_of_client_go_lead() {
        let document = json!({"spec": {"a": 1, "a.b": 2, "list": [{"n": "x", "p": 1}, {"n": "y", "p": 2}], "empty": []},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}], "none": null}});
        for (path, found) in [
            (".spec.a", json!([1])),
            (r".spec.a\.b", json!([2])),
            (r".spec['a\.b']", json!([2])),
            (".spec['a']", json!([1])),
            (".spec.list[1].n", json!(["y"])),
            (".spec.list[-1].n", json!(["y"])),
            (".spec.list[-1:].n", json!(["y"])),
            (".spec.list[].n", json!(["x"])),
            (".spec.list[:].n", json!(["x", "y"])),
            (".spec.list[::2].n", json!(["x"])),
            (".spec.list[0,1].n", json!(["x", "y"])),
            (".spec['a','list'][0].n", json!([])),
            (".spec.list[2].n", json!([])),
            (".spec.empty[0]", json!([])),
            (".spec.list[*].n", json!(["x", "y"])),
            (".spec..n", json!(["x", "y"])),
            ("..n", json!(["x", "y"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (r#".status.conditions[?(@.type == "Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type!='Ready')].status", json!(["False"])),
            (".status.conditions[?(@.reason)].status", json!([])),
            (".status.conditions[?(@.reason=='x')].status", json!([])),
            (".spec.list[?(@.p>1)].n", json!(["y"])),
            (".spec.list[?(@.p<=1)].n", json!(["x"])),
            (".spec.list[?(@.p=='1')].n", json!([])),
            (".status.none.deeper", json!([])),
            (".missing.deeper", json!([])),
            ("spec", json!([])),
            ("{.spec.a}", json!([1])),
            ("{$.spec.a}", json!([1])),
        ] {
            let parsed = JsonPath::parse(path).expect(path);
            assert_eq!(json!(parsed.find(&document)), found, "{path}");
        }
        for path in [".spec[", ".spec.[x]", "....a", ".a[?(@.b)", ".a[?(@.b=='x]", ".a[1:x]", ".a[?(@.b~1)]#"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_path_panics(
            wild in "\\PC{0,40}",
            near in "(\\.|a|\\[|\\]|\\?\\(@|==|!=|\\)|'|\"|\\*|-1|0|\\{|\\}|\\$|\\\\|\u{e9}){0,24}",
        ) {
            let document = json!({"a": [{"a": "a"}, {"a": 0, "\u{e9}": [[1]]}], "aa": {"a": null}});
            for text in [&wild, &near] {
                let Ok(path) = JsonPath::parse(text) else { continue };
                prop_assert!(path.find(&document).len() <= 8);
            }
        }
    }
}
