//! What API servers behind an APIService say of their kinds, beside what this server says of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};

use super::{Document, Made, from_v2, path_of, v2_message};
use crate::aggregation::{Published, RemoteVersion};

/// The documents of one state of the registry and of other servers together.
pub(super) struct Merged {
    own: Arc<Made>,
    published: Arc<Published>,
    pub(super) index: Document,
    /// Of versions whose servers know only OpenAPI v2; the others answer for themselves.
    pub(super) documents: BTreeMap<String, Document>,
    v2: OnceLock<[Document; 2]>,
}

impl Merged {
    pub(super) fn new(own: Arc<Made>, published: Arc<Published>) -> Self {
        let mut paths = own.paths();
        let mut documents = BTreeMap::new();
        for version in &published.versions {
            let path = path_of(&version.group, &version.version);
            let url = match (&version.openapi, part_of_v2(version)) {
                (Some(url), _) => url.clone(),
                (None, Some(part)) => {
                    let document = Document::of(&from_v2::document(&part));
                    let url = document.url(&path);
                    documents.insert(path.clone(), document);
                    url
                }
                (None, None) => continue,
            };
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
        let index = Document::of(&json!({"paths": paths}));
        Self { own, published, index, documents, v2: OnceLock::new() }
    }

    pub(super) fn is_of(&self, own: &Arc<Made>, published: &Arc<Published>) -> bool {
        Arc::ptr_eq(&self.own, own) && Arc::ptr_eq(&self.published, published)
    }

    /// As JSON and as protobuf.
    pub(super) fn v2(&self) -> &[Document; 2] {
        self.v2.get_or_init(|| {
            let mut document = self.own.v2_value();
            let parts = self.published.versions.iter().filter_map(part_of_v2);
            parts.for_each(|part| add(&mut document, part));
            [Document::of(&document), Document::new(&v2_message::document(&document))]
        })
    }
}

/// What a server's document of OpenAPI v2 has of one version: its paths, and the definitions that they lead to.
fn part_of_v2(version: &RemoteVersion) -> Option<Value> {
    let document = version.swagger.as_deref()?;
    let below = format!("/{}/", path_of(&version.group, &version.version));
    let is_own = |path: &str| path.starts_with(&below) || *path == below[..below.len() - 1];
    let paths = document["paths"].as_object()?.iter().filter(|(path, _)| is_own(path));
    let paths: Map<String, Value> = paths.map(|(path, item)| (path.clone(), item.clone())).collect();
    let all = document["definitions"].as_object()?;
    let mut found = BTreeSet::new();
    let mut next: Vec<String> = Vec::new();
    paths.values().for_each(|item| references(item, &mut |name| next.push(name.to_owned())));
    // Kinds that no path leads to: what is listed, for example.
    let of_version = |definition: &Value| {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
        kinds.into_iter().any(|kind| kind["group"] == version.group && kind["version"] == version.version)
    };
    next.extend(all.iter().filter(|(_, definition)| of_version(definition)).map(|(name, _)| name.clone()));
    while let Some(name) = next.pop() {
        let Some(definition) = all.get(&name).filter(|_| !found.contains(&name)) else { continue };
        references(definition, &mut |name| next.push(name.to_owned()));
        found.insert(name);
    }
    let definitions: Map<String, Value> = all
        .iter()
        .filter(|(name, _)| found.contains(*name))
        .map(|(name, definition)| (name.clone(), definition.clone()))
        .collect();
    let mut part = document.as_object()?.clone();
    part.insert("paths".to_owned(), paths.into());
    part.insert("definitions".to_owned(), definitions.into());
    Some(part.into())
}

/// Tells of every definition that a value refers to.
fn references(value: &Value, tell: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(object) => {
            let reference = object.get("$ref").and_then(Value::as_str);
            if let Some(name) = reference.and_then(|text| text.strip_prefix("#/definitions/")) {
                tell(name);
            }
            object.values().for_each(|value| references(value, tell));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, tell)),
        _ => {}
    }
}

/// Adds paths and definitions that are not there. Of two definitions with the same name that say different things, the
/// other server's gets another name.
fn add(document: &mut Value, part: Value) {
    let Value::Object(mut part) = part else { return };
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    let known = document["definitions"].as_object();
    for (name, definition) in part.get("definitions").and_then(Value::as_object).into_iter().flatten() {
        if known.and_then(|known| known.get(name)).is_some_and(|own| own != definition) {
            let is_free = |name: &String| known.is_none_or(|known| !known.contains_key(name));
            let free = (2_u32..).map(|number| format!("{name}_v{number}")).find(is_free);
            renamed.extend(free.map(|free| (name.clone(), free)));
        }
    }
    for field in ["paths", "definitions"] {
        let Some(Value::Object(entries)) = part.remove(field) else { continue };
        let Some(into) = document[field].as_object_mut() else { continue };
        for (name, mut value) in entries {
            refer_to(&renamed, &mut value);
            let name = if field == "definitions" { renamed.get(&name).cloned().unwrap_or(name) } else { name };
            into.entry(name).or_insert(value);
        }
    }
}

fn refer_to(renamed: &BTreeMap<String, String>, value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/definitions/").and_then(|name| renamed.get(name))
            {
                *reference = format!("#/definitions/{name}");
            }
            object.values_mut().for_each(|value| refer_to(renamed, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer_to(renamed, item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use mizzen_api::api_services::Priority;

    use super::*;

    fn version(swagger: Value) -> RemoteVersion {
        RemoteVersion {
            group: "a.example.com".to_owned(),
            version: "v1".to_owned(),
            priority: Priority::CUSTOM,
            resources: Vec::new(),
            is_stale: false,
            openapi: None,
            swagger: Some(Arc::new(swagger)),
        }
    }

    fn swagger() -> Value {
        let refers = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
        json!({"swagger": "2.0", "paths": {
            "/apis/a.example.com/v1/things": {"get": {"responses": {"200": {"schema": refers("Thing")}}}},
            "/apis/a.example.com/v10/things": {}, "/api/v1/pods": {}},
            "definitions": {"Thing": {"properties": {"metadata": refers("Meta"), "status": refers("Status")}},
                "Meta": {"type": "object"}, "Status": {"type": "string"}, "Pod": {}}})
    }

    #[test]
    fn only_what_the_version_needs_is_taken() {
        let part = part_of_v2(&version(swagger())).expect("has a part");
        let names = |field: &str| part[field].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>());
        assert_eq!(names("paths"), Some(vec!["/apis/a.example.com/v1/things".to_owned()]));
        let mut definitions = names("definitions").expect("definitions");
        definitions.sort_unstable();
        assert_eq!(definitions, ["Meta", "Status", "Thing"]);
    }

    #[test]
    fn a_name_that_means_something_else_here_gets_another_one() {
        let part = part_of_v2(&version(swagger())).expect("has a part");
        let mut document = json!({"paths": {"/api/v1/pods": {"x": 1}}, "definitions": {
            "Meta": {"type": "string"}, "Status": {"type": "string"}, "Meta_v2": {}}});
        add(&mut document, part);
        assert_eq!(document["paths"]["/api/v1/pods"], json!({"x": 1}));
        let definitions = &document["definitions"];
        assert_eq!((&definitions["Meta"], &definitions["Meta_v3"]), (&json!({"type": "string"}), &json!({"type": "object"})));
        let properties = &definitions["Thing"]["properties"];
        assert_eq!(properties["metadata"]["$ref"], "#/definitions/Meta_v3");
        assert_eq!(properties["status"]["$ref"], "#/definitions/Status");
    }
}
