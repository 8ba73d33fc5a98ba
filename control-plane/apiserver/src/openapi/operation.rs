//! One operation: its name, parameters, bodies and answers as Kubernetes publishes them.

use std::collections::BTreeSet;

use mizzen_api::GroupVersionKind;
use serde_json::{Map, Value, json};

use super::parameters;

/// In what objects, lists and events are answered.
pub(super) const OBJECT: &[&str] = &["application/cbor", "application/json", crate::protobuf::MEDIA_TYPE, "application/yaml"];
pub(super) const LIST: &[&str] = &[
    "application/cbor",
    "application/cbor-seq",
    "application/json",
    "application/json;stream=watch",
    crate::protobuf::MEDIA_TYPE,
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
pub(super) const ANY: &[&str] = &["*/*"];

/// The schema of one content in several media types.
pub(super) struct Content {
    pub(super) media: &'static [&'static str],
    pub(super) schema: Value,
}

impl Content {
    fn value(&self) -> Value {
        self.media.iter().map(|media| ((*media).to_owned(), json!({"schema": self.schema}))).collect()
    }
}

/// The schema with a name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// One of `meta/v1`.
pub(super) fn meta(name: &str) -> Value {
    reference(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
}

pub(super) struct Operation<'a> {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) description: String,
    /// What is done to which kind; documents about the API itself have none.
    pub(super) action: Option<(&'static str, &'a GroupVersionKind)>,
    /// Names of query parameters.
    pub(super) parameters: &'static [&'static str],
    /// Whether the body must be there.
    pub(super) body: Option<(Content, bool)>,
    pub(super) codes: &'static [u16],
    pub(super) answer: Content,
}

impl Operation<'_> {
    /// Without the parameters that the whole path has.
    fn value(&self, tag: &str, of_path: &BTreeSet<&str>) -> Value {
        let mut responses: Map<String, Value> = self
            .codes
            .iter()
            .map(|code| (code.to_string(), json!({"description": word(*code), "content": self.answer.value()})))
            .collect();
        responses.insert("401".to_owned(), json!({"description": word(401)}));
        let mut value = json!({"tags": [tag], "description": self.description, "operationId": self.id, "responses": responses});
        let own: Vec<Value> =
            self.parameters.iter().filter(|name| !of_path.contains(*name)).map(|name| parameters::in_query(name)).collect();
        if !own.is_empty() {
            value["parameters"] = json!(own);
        }
        if let Some((content, required)) = &self.body {
            value["requestBody"] = json!({"content": content.value()});
            if *required {
                value["requestBody"]["required"] = json!(true);
            }
        }
        if let Some((action, kind)) = self.action {
            value["x-kubernetes-action"] = json!(action);
            value["x-kubernetes-group-version-kind"] = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        }
        value
    }
}

fn word(code: u16) -> &'static str {
    match code {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        _ => "Unauthorized",
    }
}

/// A path with what can be done there. Parameters that all operations have are the path's.
pub(super) fn path_item(path: &str, tag: &str, operations: &[Operation]) -> Value {
    let mut shared: BTreeSet<&str> = operations.first().into_iter().flat_map(|operation| operation.parameters).copied().collect();
    shared.retain(|name| operations.iter().all(|operation| operation.parameters.contains(name)));
    let mut item: Map<String, Value> =
        operations.iter().map(|operation| (operation.method.to_owned(), operation.value(tag, &shared))).collect();
    let named = ["name", "namespace", "path"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
    let mut parameters: Vec<(&str, Value)> = named.map(|name| (name, parameters::in_path(name))).collect();
    parameters.extend(shared.into_iter().map(|name| (name, parameters::in_query(name))));
    parameters.sort_by_key(|(name, _)| *name);
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into_iter().map(|(_, parameter)| parameter).collect());
    }
    Value::Object(item)
}
