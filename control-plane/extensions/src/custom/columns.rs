//! The columns of a custom kind (`additionalPrinterColumns`).

use mizzen_api::descriptor::Column;
use mizzen_api::print;
use serde_json::Value;

use super::json_path::JsonPath;
use crate::definition::{list, text};

pub(super) struct Columns {
    definitions: Vec<Column>,
    paths: Vec<JsonPath>,
}

impl Columns {
    /// Of a version of a definition; without any, the age is shown.
    pub(super) fn of(version: &Value) -> Self {
        let given = list(version, "/additionalPrinterColumns");
        let mut columns = Self { definitions: Vec::new(), paths: Vec::new() };
        for column in given {
            // Without the columns from the first one on that cannot be read, as in Kubernetes.
            let Ok(path) = JsonPath::parse(text(column, "/jsonPath")) else { break };
            let field = |name: &str| text(column, name).to_owned().into();
            columns.paths.push(path);
            columns.definitions.push(Column {
                name: field("/name"),
                kind: field("/type"),
                format: field("/format"),
                description: match text(column, "/description") {
                    "" => format!("Custom resource definition column (in JSONPath format): {}", text(column, "/jsonPath")).into(),
                    description => description.to_owned().into(),
                },
                priority: column
                    .get("priority")
                    .and_then(Value::as_i64)
                    .and_then(|number| i32::try_from(number).ok())
                    .unwrap_or(0),
            });
        }
        if given.is_empty()
            && let Ok(path) = JsonPath::parse(".metadata.creationTimestamp")
        {
            columns.paths.push(path);
            columns.definitions.push(Column::date("Age", "When the object was created."));
        }
        columns
    }

    pub(super) fn definitions(&self) -> &[Column] {
        &self.definitions
    }

    pub(super) fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let columns = self.definitions.iter().zip(&self.paths);
        columns.map(|(column, path)| cell(&column.kind, &path.find(object), now)).collect()
    }
}

fn cell(kind: &str, found: &[&Value], now: jiff::Timestamp) -> Value {
    let Some(first) = found.first() else { return Value::Null };
    match kind {
        "integer" => match (first.as_i64(), first.as_f64()) {
            (Some(number), _) => number.into(),
            // A number is shown without its fraction.
            (None, Some(number)) => (number as i64).into(),
            _ => Value::Null,
        },
        "number" => first.as_f64().map_or(Value::Null, Into::into),
        "boolean" => first.as_bool().map_or(Value::Null, Into::into),
        "date" => match first.as_str() {
            Some(text) if text.parse::<jiff::Timestamp>().is_ok() => print::since(text, now).into(),
            Some(_) => "<invalid>".into(),
            None => Value::Null,
        },
        // Of many, the first one is shown.
        _ => shown(first).into(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}
