//! Does a document have the shape that its schema says: unknown fields and wrong types.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{Schema, SchemaSet, Shape};

/// What strict decoding has to say of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Path of a field that the schema does not know, such as `spec.containers[0].imge`.
    Unknown(String),
    /// Path of a field that stands twice.
    Duplicate(String),
    /// A value of the wrong type, which no `fieldValidation` lets pass.
    Type { path: String, message: String },
}

impl Problem {
    /// Whether the document cannot be taken at all, whatever `fieldValidation` asks.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Type { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field \"{path}\""),
            Self::Duplicate(path) => write!(f, "duplicate field \"{path}\""),
            Self::Type { message, .. } => f.write_str(message),
        }
    }
}

/// So many problems are told of a document, and so many bytes of paths to them: whoever has more knows enough, and a path
/// may be as long as the document.
const MAX_PROBLEMS: usize = 100;
const MAX_BYTES: usize = 64 * 1024;

/// Notes a path, if it is not too much.
pub fn note(paths: &mut Vec<String>, path: &impl fmt::Display) {
    if paths.len() < MAX_PROBLEMS && paths.iter().map(String::len).sum::<usize>() < MAX_BYTES {
        paths.push(path.to_string());
    }
}

/// Unknown fields and wrong types of a document that should be a `name`, in document order; not all where there are very many.
pub fn check(set: &SchemaSet, name: &str, value: &Value) -> Vec<Problem> {
    let mut walk = Walk { set, path: String::new(), fields: Vec::new(), problems: Vec::new(), bytes: 0, has_fatal: false };
    if let Some(schema) = set.get(name) {
        walk.value(schema, value, short(name));
    }
    walk.problems
}

struct Walk<'a> {
    set: &'a SchemaSet,
    path: String,
    /// The struct fields of the path, without keys of maps and places in lists.
    fields: Vec<&'a str>,
    problems: Vec<Problem>,
    /// Of the paths to them.
    bytes: usize,
    has_fatal: bool,
}

impl<'a> Walk<'a> {
    /// `owner` is the struct that holds the value, as the message names it.
    fn value(&mut self, schema: &'a Schema, value: &Value, owner: &str) {
        let named = match &schema.shape {
            Shape::Ref(name) => Some(short(name)),
            _ => None,
        };
        let shape = &self.set.resolve(schema).shape;
        match (shape, value) {
            // To Kubernetes a null is an absent field.
            (_, Value::Null) | (Shape::Any, _) => {}
            (Shape::Object(shape), Value::Object(object)) => {
                for (key, child) in object {
                    let length = self.push(key);
                    match shape.fields.get_key_value(key.as_str()) {
                        Some((name, field)) => {
                            self.fields.push(name);
                            self.value(&field.schema, child, named.unwrap_or(owner));
                            self.fields.pop();
                        }
                        None if shape.preserve_unknown => {}
                        None => self.note(Problem::Unknown),
                    }
                    self.path.truncate(length);
                }
            }
            (Shape::Map { values, .. }, Value::Object(object)) => {
                for (key, child) in object {
                    let length = self.push(key);
                    self.value(values, child, owner);
                    self.path.truncate(length);
                }
            }
            (Shape::List { items, .. }, Value::Array(list)) => {
                for (index, child) in list.iter().enumerate() {
                    let length = self.path.len();
                    // Writing to a String cannot fail.
                    let _ = write!(self.path, "[{index}]");
                    self.value(items, child, owner);
                    self.path.truncate(length);
                }
            }
            (Shape::String { format, .. }, Value::String(text)) => self.text(format.as_deref(), text),
            (Shape::Integer { format }, Value::Number(number)) => {
                let fits = match format.as_deref() {
                    Some("int32") => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                    _ => number.as_i64().is_some(),
                };
                if !fits {
                    self.wrong(&format!("number {number}"), shape, named, owner);
                }
            }
            (Shape::Number { .. }, Value::Number(_)) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(number)) => {
                if number.as_i64().is_none_or(|n| i32::try_from(n).is_err()) {
                    self.wrong(&format!("number {number}"), shape, named, owner);
                }
            }
            (Shape::Quantity, Value::String(text)) => self.quantity(text),
            (Shape::Quantity, Value::Number(number)) => self.quantity(&number.to_string()),
            (shape, value) => self.wrong(json_type(value), shape, named, owner),
        }
    }

    /// The first problem that is fatal is told in any case.
    fn note(&mut self, problem: impl FnOnce(String) -> Problem) {
        let is_full = self.problems.len() >= MAX_PROBLEMS || self.bytes >= MAX_BYTES;
        if is_full && self.has_fatal {
            return;
        }
        let problem = problem(self.path.clone());
        if !is_full || problem.is_fatal() {
            self.has_fatal |= problem.is_fatal();
            self.bytes += self.path.len();
            self.problems.push(problem);
        }
    }

    fn push(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn text(&mut self, format: Option<&str>, text: &str) {
        let message = match format {
            Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => {
                format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as RFC 3339")
            }
            Some("byte") => match crate::validate::base64(text) {
                Ok(_) => return,
                Err(at) => format!("illegal base64 data at input byte {at}"),
            },
            _ => return,
        };
        self.note(|path| Problem::Type { path, message });
    }

    fn quantity(&mut self, text: &str) {
        if let Err(error) = text.parse::<crate::quantity::Quantity>() {
            self.note(|path| Problem::Type { path, message: error.to_string() });
        }
    }

    fn wrong(&mut self, found: &str, shape: &Shape, named: Option<&str>, owner: &str) {
        let wanted = go_type(shape, named);
        let message = match self.path.is_empty() {
            true => format!("json: cannot unmarshal {found} into Go value of type v1.{wanted}"),
            false => {
                format!("json: cannot unmarshal {found} into Go struct field {owner}.{} of type {wanted}", self.fields.join("."))
            }
        };
        self.note(|path| Problem::Type { path, message });
    }
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_type(shape: &Shape, named: Option<&str>) -> String {
    match (shape, named) {
        (Shape::Ref(name), _) => format!("v1.{}", short(name)),
        (_, Some(name)) => format!("v1.{name}"),
        (Shape::Map { values, .. }, _) => format!("map[string]{}", go_type(&values.shape, None)),
        (Shape::List { items, .. }, _) => format!("[]{}", go_type(&items.shape, None)),
        (Shape::String { .. }, _) => "string".to_owned(),
        (Shape::Integer { format } | Shape::Number { format }, _) => {
            format.as_deref().unwrap_or("int64").replace("double", "float64")
        }
        (Shape::Boolean, _) => "bool".to_owned(),
        _ => "object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(kind: &str, value: Value) -> Vec<String> {
        check(super::super::builtin(), kind, &value).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"any": "thing"}, "nam": 1},
            "spec": {"containers": [{"name": "a", "imge": "b"}], "nodeSelector": {"x": "y"}, "foo": {}}});
        assert_eq!(
            problems("io.k8s.api.core.v1.Pod", pod),
            ["unknown field \"metadata.nam\"", "unknown field \"spec.containers[0].imge\"", "unknown field \"spec.foo\""]
        );
    }

    #[test]
    fn wrong_types_are_told_as_kubernetes_tells_them() {
        for (spec, wrong) in [
            (
                json!({"replicas": "3"}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"replicas": 1.5}),
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"replicas": 3_000_000_000_i64}),
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                json!({"template": {"spec": {"containers": {}}}}),
                "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
            ),
            (
                json!({"template": {"spec": {"containers": [{"image": 1}]}}}),
                "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.image of type string",
            ),
            (
                json!({"selector": {"matchLabels": {"a": 1}}}),
                "json: cannot unmarshal number into Go struct field LabelSelector.spec.selector.matchLabels of type string",
            ),
            (
                json!({"paused": "yes"}),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
            ),
            (json!([]), "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        ] {
            assert_eq!(problems("io.k8s.api.apps.v1.Deployment", json!({"spec": spec})), [wrong]);
        }
        assert_eq!(problems("io.k8s.api.core.v1.Secret", json!({"data": {"a": "%"}})), ["illegal base64 data at input byte 0"]);
    }

    #[test]
    fn special_types_and_nulls_pass() {
        let deployment = json!({"metadata": {"creationTimestamp": null, "managedFields": [{"fieldsV1": {"f:x": {}}}]}, "status": null, "spec": {
            "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            "template": {"spec": {"containers": [{"resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": "http"}}}]}}}});
        assert_eq!(problems("io.k8s.api.apps.v1.Deployment", deployment), Vec::<String>::new());
        let lease = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
        assert_eq!(problems("io.k8s.api.coordination.v1.Lease", lease), Vec::<String>::new());
        assert!(
            problems("io.k8s.api.coordination.v1.Lease", json!({"spec": {"renewTime": "yesterday"}}))[0]
                .starts_with("parsing time")
        );
        let quantity = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "one"}}}]}});
        assert!(problems("io.k8s.api.core.v1.Pod", quantity)[0].starts_with("quantities must match"));
    }
}
