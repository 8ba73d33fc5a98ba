//! The operations on a resource, with what clients look for in them: which kind, which action, which parameters.

use std::sync::Arc;

use mizzen_api::schema::SchemaSet;
use mizzen_api::{GroupVersionKind, ResourceDescriptor, Scope, Verb};
use serde_json::{Map, Value, json};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCHES: &[&str] =
    &["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", STRATEGIC];

/// The name of the schema of the resource's lists, where they have one.
pub(super) fn list_schema(descriptor: &ResourceDescriptor, version: &str, schemas: &SchemaSet) -> Option<Arc<str>> {
    let (package, _) = descriptor.schema_of(version).rsplit_once('.')?;
    let name = format!("{package}.{}", descriptor.list_kind());
    (schemas.get(&name).is_some() || schemas.published(&name).is_some()).then(|| name.into())
}

pub(super) fn add(paths: &mut Map<String, Value>, descriptor: &ResourceDescriptor, version: &Arc<str>, schemas: &SchemaSet) {
    let base = match &*descriptor.group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    let own = GroupVersionKind::new(descriptor.group.clone(), version.clone(), descriptor.kind.clone());
    let namespaced = descriptor.scope == Scope::Namespaced;
    let collection = match descriptor.scope {
        Scope::Cluster => format!("{base}/{}", descriptor.resource),
        Scope::Namespaced => format!("{base}/namespaces/{{namespace}}/{}", descriptor.resource),
    };
    let schema = Some(descriptor.schema_of(version));
    let list = list_schema(descriptor, version, schemas);
    let list = list.as_ref().or(schema);
    let mut item = Map::new();
    let mut many = Map::new();
    for verb in descriptor.verbs {
        let (place, method, action) = match verb {
            Verb::Get => (&mut item, "get", "get"),
            Verb::Update => (&mut item, "put", "put"),
            Verb::Patch => (&mut item, "patch", "patch"),
            Verb::Delete => (&mut item, "delete", "delete"),
            Verb::List => (&mut many, "get", "list"),
            Verb::Create => (&mut many, "post", "post"),
            Verb::DeleteCollection => (&mut many, "delete", "deletecollection"),
            Verb::Watch => continue,
        };
        let schema = if *verb == Verb::List { list } else { schema };
        place.insert(method.to_owned(), operation(*verb, action, &own, schema));
    }
    if namespaced && many.contains_key("get") {
        let everywhere = json!({"get": operation(Verb::List, "list", &own, list)});
        paths.insert(format!("{base}/{}", descriptor.resource), everywhere);
    }
    let custom = descriptor.custom.is_some();
    if custom {
        leave_out_strategic(&mut item);
    }
    insert(paths, collection.clone(), many, namespaced, false);
    insert(paths, format!("{collection}/{{name}}"), item, namespaced, true);
    for subresource in &descriptor.subresources {
        let kind = subresource.kind.as_ref().unwrap_or(&own);
        let schema = schemas.name_of(kind);
        let mut operations = Map::new();
        for verb in subresource.verbs {
            let (method, action) = match verb {
                Verb::Get => ("get", "get"),
                Verb::Update => ("put", "put"),
                Verb::Patch => ("patch", "patch"),
                Verb::Create => ("post", "post"),
                Verb::Delete => ("delete", "delete"),
                _ => continue,
            };
            operations.insert(method.to_owned(), operation(*verb, action, kind, schema));
        }
        if custom {
            leave_out_strategic(&mut operations);
        }
        insert(paths, format!("{collection}/{{name}}/{}", subresource.name), operations, namespaced, true);
    }
}

/// A custom kind has no merge keys. Clients look at any path of the kind to learn it.
fn leave_out_strategic(operations: &mut Map<String, Value>) {
    let content = operations.get_mut("patch").and_then(|patch| patch.pointer_mut("/requestBody/content")?.as_object_mut());
    if let Some(types) = content {
        types.remove(STRATEGIC);
    }
}

fn insert(paths: &mut Map<String, Value>, path: String, mut operations: Map<String, Value>, namespaced: bool, named: bool) {
    if operations.is_empty() {
        return;
    }
    let in_path =
        |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let mut parameters = Vec::new();
    if named {
        parameters.push(in_path("name"));
    }
    if namespaced {
        parameters.push(in_path("namespace"));
    }
    parameters.push(query("pretty", "string"));
    operations.insert("parameters".to_owned(), json!(parameters));
    paths.insert(path, Value::Object(operations));
}

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn operation(verb: Verb, action: &str, kind: &GroupVersionKind, schema: Option<&Arc<str>>) -> Value {
    let strings: &[&str] = match verb {
        Verb::Create | Verb::Update => &["dryRun", "fieldManager", "fieldValidation"],
        Verb::Patch => &["dryRun", "fieldManager", "fieldValidation", "force"],
        Verb::Delete => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
        Verb::List | Verb::DeleteCollection => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        Verb::Get | Verb::Watch => &[],
    };
    let parameters: Vec<Value> = strings
        .iter()
        .map(|name| {
            let kind = match *name {
                "force" | "watch" | "allowWatchBookmarks" | "sendInitialEvents" | "orphanDependents" => "boolean",
                "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
                _ => "string",
            };
            query(name, kind)
        })
        .collect();
    let content = match schema {
        Some(name) => json!({"schema": {"$ref": format!("#/components/schemas/{name}")}}),
        None => json!({}),
    };
    let mut operation = json!({
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": {"application/json": content}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    });
    match verb {
        Verb::Create | Verb::Update => operation["requestBody"] = json!({"required": true, "content": {"*/*": content}}),
        Verb::Patch => {
            let types: Map<String, Value> = PATCHES.iter().map(|media| ((*media).to_owned(), json!({}))).collect();
            operation["requestBody"] = json!({"required": true, "content": types});
        }
        _ => {}
    }
    operation
}
