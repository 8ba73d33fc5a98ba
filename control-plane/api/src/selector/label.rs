//! Label selectors (`apimachinery/pkg/labels`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::SelectorError;
use super::parse::Parser;
use crate::validate::{label_key, label_value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// The label is an integer greater than the one value (node affinity and query strings).
    Gt,
    Lt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without duplicates.
    pub values: Vec<String>,
}

impl Requirement {
    /// # Errors
    /// When key, values or their number do not fit the operator.
    pub fn new(key: &str, operator: Operator, values: impl IntoIterator<Item = String>) -> Result<Self, SelectorError> {
        let mut values: Vec<String> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        let invalid =
            |field: &str, value: &str, why: &str| Err(SelectorError(format!("{field}: Invalid value: {value:?}: {why}")));
        if let Some(complaint) = label_key(key).first() {
            return invalid("key", key, complaint);
        }
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                return Err(SelectorError(
                    "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty".into(),
                ));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                return Err(SelectorError(format!(
                    "values: Invalid value: {values:?}: values set must be empty for exists and does not exist"
                )));
            }
            Operator::Gt | Operator::Lt => match values.as_slice() {
                [value] if value.parse::<i64>().is_ok() => {}
                [value] => return invalid("values[0]", value, "for 'Gt', 'Lt' operators, the value must be an integer"),
                _ => {
                    return Err(SelectorError(format!(
                        "values: Invalid value: {values:?}: for 'Gt', 'Lt' operators, exactly one value is required"
                    )));
                }
            },
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(complaint) = label_value(value).first() {
                return invalid(&format!("values[{index}][{key}]"), value, complaint);
            }
        }
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// Whether a label of this value (`None`: no such label) satisfies the requirement.
    pub fn matches(&self, label: Option<&str>) -> bool {
        let among = |label: &str| self.values.iter().any(|value| value == label);
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = |label: &str, right: fn(i64, i64) -> bool| matches!((number(label), self.values.first().and_then(|value| number(value))), (Some(a), Some(b)) if right(a, b));
        match (self.operator, label) {
            (Operator::In, Some(label)) => among(label),
            (Operator::NotIn, Some(label)) => !among(label),
            (Operator::Exists, label) => label.is_some(),
            (Operator::DoesNotExist, label) => label.is_none(),
            (Operator::Gt, Some(label)) => compare(label, |a, b| a > b),
            (Operator::Lt, Some(label)) => compare(label, |a, b| a < b),
            (Operator::NotIn, None) => true,
            (Operator::In | Operator::Gt | Operator::Lt, None) => false,
        }
    }
}

/// A conjunction of requirements; none at all select everything.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    pub fn everything() -> Self {
        Self::default()
    }

    /// What an absent `LabelSelector` document selects.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements, nothing: false }
    }

    /// Parses a query's `labelSelector`.
    ///
    /// # Errors
    /// When the text is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Parser::new(text)
            .requirements()
            .map(Self::new)
            .map_err(|error| SelectorError(format!("unable to parse requirement: {}", error.0)))
    }

    /// A `meta/v1.LabelSelector` document (`matchLabels`, `matchExpressions`): absent selects nothing, empty everything.
    ///
    /// # Errors
    /// When an operator is unknown or a requirement invalid.
    pub fn from_document(document: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(document) = document.filter(|document| !document.is_null()) else { return Ok(Self::nothing()) };
        let mut requirements = Self::from_match_labels(document.get("matchLabels"))?.requirements;
        for expression in document.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(requirement_document(expression, false)?);
        }
        Ok(Self::new(requirements))
    }

    /// A plain map of labels, as `Service.spec.selector` and `nodeSelector` have it.
    ///
    /// # Errors
    /// When a key or value is no label.
    pub fn from_match_labels(labels: Option<&Value>) -> Result<Self, SelectorError> {
        let labels = labels.and_then(Value::as_object).into_iter().flatten();
        labels
            .map(|(key, value)| Requirement::new(key, Operator::In, [value.as_str().unwrap_or_default().to_owned()]))
            .collect::<Result<_, _>>()
            .map(Self::new)
    }

    /// `NodeSelectorTerm.matchExpressions`, which also knows `Gt` and `Lt`.
    ///
    /// # Errors
    /// When an operator is unknown or a requirement invalid.
    pub fn from_node_expressions(expressions: &[Value]) -> Result<Self, SelectorError> {
        expressions.iter().map(|expression| requirement_document(expression, true)).collect::<Result<_, _>>().map(Self::new)
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Matches the `metadata.labels` (or any other map) of a document.
    pub fn matches_value(&self, labels: Option<&Value>) -> bool {
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

fn requirement_document(expression: &Value, node: bool) -> Result<Requirement, SelectorError> {
    let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let operator = match text("operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" if node => Operator::Gt,
        "Lt" if node => Operator::Lt,
        other if node => return Err(SelectorError(format!("{other:?} is not a valid node selector operator"))),
        other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
    };
    let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
    Requirement::new(text("key"), operator, values.filter_map(Value::as_str).map(str::to_owned))
}

impl fmt::Display for LabelSelector {
    /// The canonical query string, which parses to the same selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator, values }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let joined = values.join(",");
            match operator {
                Operator::In if values.len() == 1 => write!(f, "{key}={joined}")?,
                Operator::In => write!(f, "{key} in ({joined})")?,
                Operator::NotIn if values.len() == 1 => write!(f, "{key}!={joined}")?,
                Operator::NotIn => write!(f, "{key} notin ({joined})")?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::Gt => write!(f, "{key}>{joined}")?,
                Operator::Lt => write!(f, "{key}<{joined}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn selectors_match_as_their_operators_say() {
        let labels = labels(&[("a", "x"), ("b", ""), ("n", "5"), ("example.com/c", "y")]);
        for (selector, matches, canonical) in [
            ("", true, ""),
            ("a=x", true, "a=x"),
            ("a==x", true, "a=x"),
            ("a = x , b", true, "a=x,b"),
            ("a!=x", false, "a!=x"),
            ("missing!=x", true, "missing!=x"),
            ("a in (y, x)", true, "a in (x,y)"),
            ("a in(x)", true, "a=x"),
            ("a notin (x,y)", false, "a notin (x,y)"),
            ("missing notin (x)", true, "missing!=x"),
            ("b in (,x)", true, "b in (,x)"),
            ("a", true, "a"),
            ("!a", false, "!a"),
            ("! missing", true, "!missing"),
            ("b=", true, "b="),
            ("b=,a=x", true, "b=,a=x"),
            ("n>4", true, "n>4"),
            ("n<4", false, "n<4"),
            ("a>4", false, "a>4"),
            ("missing<4", false, "missing<4"),
            ("example.com/c=y", true, "example.com/c=y"),
            ("in in (in)", false, "in=in"),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"));
            assert_eq!((parsed.matches(&labels), parsed.to_string().as_str()), (matches, canonical), "{selector}");
            assert_eq!(LabelSelector::parse(canonical).expect("parses again"), parsed, "{selector}");
        }
    }

    #[test]
    fn wrong_selectors_are_refused_with_the_reason() {
        for (selector, why) in [
            ("a in", "found '', expected: '('"),
            ("a in (x", "found '', expected: ',', ')' or identifier"),
            ("a=x b", "found 'b', expected: ',' or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("=x", "found '=', expected: !, identifier, or 'end of string'"),
            ("a ? b", "found '?', expected: in, notin, =, ==, !=, >, <"),
            ("!", "found '', expected: identifier"),
            ("a>b", "values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer"),
            ("a/b/c=d", "key: Invalid value: \"a/b/c\": a qualified name must"),
            ("a=-x", "values[0][a]: Invalid value: \"-x\": a valid label must be"),
        ] {
            let error = LabelSelector::parse(selector).expect_err(selector).to_string();
            assert!(error.starts_with(&format!("unable to parse requirement: {why}")), "{selector}: {error}");
        }
    }

    #[test]
    fn documents_select_nothing_everything_or_what_they_name() {
        let labels = labels(&[("app", "a"), ("tier", "b")]);
        assert!(!LabelSelector::from_document(None).expect("is one").matches(&labels));
        assert!(LabelSelector::from_document(Some(&json!({}))).expect("is one").matches(&labels));
        let document = json!({"matchLabels": {"app": "a"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "c"]}, {"key": "x", "operator": "DoesNotExist"}]});
        let selector = LabelSelector::from_document(Some(&document)).expect("is one");
        assert!(selector.matches(&labels));
        assert!(selector.matches_value(Some(&json!({"app": "a", "tier": "c"}))));
        assert!(!selector.matches_value(Some(&json!({"app": "a", "tier": "b", "x": ""}))));
        assert!(!selector.matches_value(None));
        let unknown = json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]});
        assert!(LabelSelector::from_document(Some(&unknown)).is_err());
        let expressions = [json!({"key": "n", "operator": "Gt", "values": ["1"]})];
        assert!(LabelSelector::from_node_expressions(&expressions).expect("is one").matches_value(Some(&json!({"n": "2"}))));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_parses_again(text in "[a-c=!<>(), /.inot-]{0,24}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
            }
        }

        #[test]
        fn no_text_at_all_makes_parsing_panic(text in "\\PC*") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
