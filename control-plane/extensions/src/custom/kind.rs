//! What a custom kind does, in one of its versions.

use std::fmt::Write as _;
use std::sync::LazyLock;

use mizzen_api::descriptor::{Column, Context, Strategy};
use mizzen_api::schema::{self, Problem};
use mizzen_api::status::Cause;
use serde_json::{Map, Value};

use super::columns::Columns;
use crate::cel::validate_rules;
use crate::schema::{Structural, apply_defaults, prune, validate};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

type Make = Box<dyn FnOnce() -> Parsed + Send>;

pub(super) struct Kind {
    /// Most kinds are never used.
    parsed: LazyLock<Parsed, Make>,
    /// The status subresource: `status` is written through it alone.
    has_status: bool,
    columns: Columns,
    /// `.spec.color`, as field selectors name it without the dot.
    selectable: Vec<String>,
}

struct Parsed {
    schema: Structural,
    has_rules: bool,
}

impl Kind {
    /// `parse` gives the schema when it is first needed.
    pub(super) fn new(
        parse: impl FnOnce() -> Structural + Send + 'static,
        has_status: bool,
        columns: Columns,
        selectable: Vec<String>,
    ) -> Self {
        let selectable = selectable.into_iter().map(|path| path.trim_start_matches('.').to_owned()).collect();
        let make = || {
            let schema = parse();
            Parsed { has_rules: schema.has_rules(), schema }
        };
        Self { parsed: LazyLock::new(Box::new(make)), has_status, columns, selectable }
    }

    pub(super) fn schema(&self) -> &Structural {
        &self.parsed.schema
    }

    fn wrong(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = validate(self.schema(), object, old);
        // Rules rely on the types of what they look at.
        if causes.is_empty() && self.parsed.has_rules {
            causes = validate_rules(self.schema(), object, old);
        }
        causes
    }
}

impl Strategy for Kind {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn problems(&self, object: &Value) -> Option<Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(metadata) = object.get("metadata") {
            problems.extend(metadata_problems("metadata", metadata));
        }
        embedded_problems(self.schema(), object, &mut String::new(), &mut problems);
        let mut pruned = object.clone();
        problems.extend(prune(self.schema(), &mut pruned).into_iter().map(Problem::Unknown));
        Some(problems)
    }

    fn default(&self, object: &mut Value) {
        prune(self.schema(), object);
        apply_defaults(self.schema(), object);
        if let Some(metadata) = object.get_mut("metadata") {
            drop_unknown_metadata(metadata);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        if let (true, Some(object)) = (self.has_status, object.as_object_mut()) {
            object.remove("status");
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if let (true, Some(object)) = (self.has_status, object.as_object_mut()) {
            match old.get("status") {
                Some(status) => object.insert("status".to_owned(), status.clone()),
                None => object.remove("status"),
            };
        }
    }

    fn runs_rules(&self) -> bool {
        self.parsed.has_rules
    }

    fn has_generation(&self, _object: &Value) -> bool {
        true
    }

    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        let nothing = Map::new();
        let (new, old) = (object.as_object().unwrap_or(&nothing), old.as_object().unwrap_or(&nothing));
        let counts = |key: &str| key != "metadata" && (!self.has_status || key != "status");
        new.iter().any(|(key, value)| counts(key) && old.get(key) != Some(value))
            || old.keys().any(|key| counts(key) && !new.contains_key(key))
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        self.wrong(object, None)
    }

    fn validate_replacement(&self, object: &Value, old: &Value) -> Vec<Cause> {
        self.wrong(object, Some(old))
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
        self.wrong(object, Some(old))
    }

    fn selectable(&self, object: &Value, path: &str) -> Option<String> {
        if !self.is_selectable(path) {
            return None;
        }
        let value = path.split('.').try_fold(object, |value, name| value.get(name));
        Some(match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        })
    }

    fn is_selectable(&self, path: &str) -> bool {
        self.selectable.iter().any(|selectable| selectable == path)
    }

    fn columns(&self) -> &[Column] {
        self.columns.definitions()
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        self.columns.cells(object, context.now)
    }
}

/// What strict decoding says of metadata, which is typed in every kind.
fn metadata_problems(path: &str, metadata: &Value) -> Vec<Problem> {
    schema::check(schema::builtin(), OBJECT_META, metadata)
        .into_iter()
        .map(|problem| match problem {
            Problem::Unknown(field) => Problem::Unknown(format!("{path}.{field}")),
            Problem::Duplicate(field) => Problem::Duplicate(format!("{path}.{field}")),
            Problem::Type { path: field, message } => Problem::Type { path: format!("{path}.{field}"), message },
        })
        .collect()
}

fn embedded_problems(schema: &Structural, value: &Value, path: &mut String, problems: &mut Vec<Problem>) {
    if schema.embedded
        && let Some(metadata) = value.get("metadata")
    {
        problems.extend(metadata_problems(&format!("{path}.metadata"), metadata));
    }
    let length = path.len();
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let Some(schema) = schema.field(name) else { continue };
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                embedded_problems(schema, value, path, problems);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (index, item) in items.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = write!(path, "[{index}]");
                embedded_problems(schema, item, path, problems);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn drop_unknown_metadata(metadata: &mut Value) {
    let Some(mizzen_api::schema::Shape::Object(shape)) = schema::builtin().get(OBJECT_META).map(|schema| &schema.shape) else {
        return;
    };
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|key, value| shape.fields.contains_key(key.as_str()) && !value.is_null());
    }
}
