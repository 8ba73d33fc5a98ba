//! The forms that objects are printed in.

use serde::Serialize;
use serde_json::{Value, json};

use super::resources::Resource;
use super::template::Template;
use super::yaml;

/// `-o`.
#[derive(Clone, Debug, Default)]
pub enum Output {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
    Name,
    JsonPath(Template),
}

impl Output {
    /// # Errors
    /// Names the formats there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("wide", "") => Ok(Self::Wide),
            ("json", "") => Ok(Self::Json),
            ("yaml", "") => Ok(Self::Yaml),
            ("name", "") => Ok(Self::Name),
            ("jsonpath", "") => Err("template format specified but no template given".to_owned()),
            ("jsonpath", template) => Template::parse(template).map(Self::JsonPath),
            (format, _) => Err(format!(
                "unable to match a printer suitable for the output format {format:?}, allowed formats are: json,jsonpath,name,wide,yaml"
            )),
        }
    }

    pub fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// The objects in this form; one that was asked for by its name stands alone, others in a list.
    ///
    /// # Errors
    /// When they cannot be written so.
    pub fn print(&self, objects: Vec<(Resource, Value)>, alone: bool) -> anyhow::Result<String> {
        if let Self::Name = self {
            let name = |value: &Value| value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            return Ok(objects.iter().map(|(resource, object)| format!("{}/{}\n", resource.one(), name(object))).collect());
        }
        let mut objects: Vec<Value> = objects.into_iter().map(|(_, object)| object).collect();
        let shown = match objects.pop() {
            Some(object) if alone && objects.is_empty() => object,
            last => {
                objects.extend(last);
                json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects})
            }
        };
        self.one(shown)
    }

    /// One document in this form; JSON where it is no form of documents.
    ///
    /// # Errors
    /// When it cannot be written so.
    pub fn one(&self, shown: Value) -> anyhow::Result<String> {
        Ok(match self {
            Self::Yaml => yaml::document(&shown),
            Self::JsonPath(template) => template.fill(&shown),
            _ => indented(&shown)?,
        })
    }
}

/// JSON with four spaces, as kubectl has it.
fn indented(value: &Value) -> anyhow::Result<String> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    text.push(b'\n');
    Ok(String::from_utf8(text)?)
}

/// Takes away what nobody reads.
pub fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> (Resource, Value) {
        let resource = Resource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            plural: "deployments".to_owned(),
            kind: "Deployment".to_owned(),
            namespaced: true,
        };
        (resource, json!({"metadata": {"name": "a"}}))
    }

    fn printed(format: &str, alone: bool) -> String {
        Output::parse(format).expect("is a format").print(vec![pod()], alone).expect("prints")
    }

    #[test]
    fn one_object_stands_alone_and_several_in_a_list() {
        assert_eq!(printed("json", true), "{\n    \"metadata\": {\n        \"name\": \"a\"\n    }\n}\n");
        assert_eq!(printed("yaml", true), "metadata:\n  name: a\n");
        assert!(printed("yaml", false).starts_with("apiVersion: v1\nitems:\n- metadata:\n    name: a\nkind: List\n"));
        assert_eq!(printed("name", false), "deployment.apps/a\n");
        assert_eq!(printed("jsonpath={.items[*].metadata.name}", false), "a");
    }

    #[test]
    fn an_unknown_format_is_refused_with_those_there_are() {
        assert!(Output::parse("xml").expect_err("is none").contains("json,jsonpath,"));
        assert!(Output::parse("jsonpath").is_err() && Output::parse("jsonpath={.a").is_err());
    }
}
