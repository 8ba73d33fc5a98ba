//! Our schemas and descriptors beside what Kubernetes publishes of itself (`shared/oracle`, not a part of the project):
//! skipped with a notice where those files are not present.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mizzen_api::schema::{self, Field, ListKind, Schema, SchemaSet, Shape};
use mizzen_api::{Registry, ResourceDescriptor, Scope};
use serde_json::{Value, json};

fn oracle(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MIZZEN_ORACLE").map_or_else(|| PathBuf::from("/work/shared/oracle"), PathBuf::from);
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}

fn json_files(folder: &str) -> Vec<(String, Value)> {
    let Some(path) = oracle(folder) else { return Vec::new() };
    let mut files: Vec<(String, Value)> = std::fs::read_dir(path)
        .expect("lists the oracle")
        .filter_map(|entry| {
            let path = entry.expect("reads the oracle").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            Some((name, serde_json::from_slice(&std::fs::read(&path).expect("reads the oracle")).ok()?))
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// What the oracle says of a value, in the oracle's own terms, without descriptions and defaults of structs.
fn published(json: &Value) -> Value {
    let Value::Object(object) = json else { return json.clone() };
    let mut out = serde_json::Map::new();
    for (key, value) in object {
        match key.as_str() {
            "description" | "x-kubernetes-unions" => {}
            "default" if value.as_object().is_some_and(serde_json::Map::is_empty) => {}
            "x-kubernetes-list-type" if value == "atomic" => {}
            "x-kubernetes-map-type" if value == "granular" => {}
            "allOf" => {
                out.insert("$ref".to_owned(), value[0]["$ref"].clone());
            }
            "properties" => {
                let fields = value.as_object().expect("properties are an object");
                out.insert(key.clone(), fields.iter().map(|(name, field)| (name.clone(), published(field))).collect());
            }
            "items" | "additionalProperties" => {
                let mut items = published(value);
                // A default of a list's items has no meaning.
                items.as_object_mut().map(|items| items.remove("default"));
                out.insert(key.clone(), items);
            }
            "required" => {
                let mut names: Vec<&str> = value.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
                names.sort_unstable();
                out.insert(key.clone(), json!(names));
            }
            "x-kubernetes-patch-strategy" if value == "replace" => {}
            _ => {
                out.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(out)
}

/// Our schema, in the oracle's terms.
fn ours(schema: &Schema) -> Value {
    let string = |format: &Option<std::sync::Arc<str>>, kind: &str| match format {
        Some(format) => json!({"type": kind, "format": &**format}),
        None => json!({"type": kind}),
    };
    match &schema.shape {
        Shape::Ref(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        Shape::Object(object) => {
            let fields: serde_json::Map<String, Value> =
                object.fields.iter().map(|(name, field)| (name.to_string(), ours_field(field))).collect();
            let required: Vec<&str> = object.fields.iter().filter(|(_, field)| field.required).map(|(name, _)| &**name).collect();
            let mut out = json!({"type": "object", "properties": fields});
            if !required.is_empty() {
                out["required"] = json!(required);
            }
            if object.atomic {
                out["x-kubernetes-map-type"] = json!("atomic");
            }
            if !object.kinds.is_empty() {
                let kinds: Vec<Value> = object
                    .kinds
                    .iter()
                    .map(|gvk| json!({"group": &*gvk.group, "kind": &*gvk.kind, "version": &*gvk.version}))
                    .collect();
                out["x-kubernetes-group-version-kind"] = json!(kinds);
            }
            out
        }
        Shape::Map { values, atomic } => {
            let mut out = json!({"type": "object", "additionalProperties": ours(values)});
            if *atomic {
                out["x-kubernetes-map-type"] = json!("atomic");
            }
            out
        }
        Shape::List { items, kind } => {
            let mut out = json!({"type": "array", "items": ours(items)});
            match kind {
                ListKind::Atomic => {}
                ListKind::Set => out["x-kubernetes-list-type"] = json!("set"),
                ListKind::Map { keys } => {
                    out["x-kubernetes-list-type"] = json!("map");
                    out["x-kubernetes-list-map-keys"] = json!(keys.iter().map(|key| &**key).collect::<Vec<_>>());
                }
            }
            out
        }
        Shape::String { format, .. } => string(format, "string"),
        Shape::Integer { format } => string(format, "integer"),
        Shape::Number { format } => string(format, "number"),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::IntOrString => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Shape::Any => json!({"type": "object"}),
    }
}

fn ours_field(field: &Field) -> Value {
    let mut out = ours(&field.schema);
    if let Some(default) = &field.default {
        out["default"] = default.clone();
    }
    let patch = &field.patch;
    if let Some(key) = &patch.merge_key {
        out["x-kubernetes-patch-merge-key"] = json!(&**key);
    }
    let strategy: Vec<&str> =
        [("merge", patch.merge), ("retainKeys", patch.retain_keys)].iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    if !strategy.is_empty() {
        out["x-kubernetes-patch-strategy"] = json!(strategy.join(","));
    }
    out
}

fn closure(set: &SchemaSet, roots: impl IntoIterator<Item = String>) -> Vec<String> {
    fn references(schema: &Schema, into: &mut Vec<String>) {
        match &schema.shape {
            Shape::Ref(name) => into.push(name.to_string()),
            Shape::Object(object) => object.fields.values().for_each(|field| references(&field.schema, into)),
            Shape::Map { values, .. } => references(values, into),
            Shape::List { items, .. } => references(items, into),
            _ => {}
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut todo: Vec<String> = roots.into_iter().collect();
    while let Some(name) = todo.pop() {
        if seen.insert(name.clone()) {
            references(set.get(&name).unwrap_or_else(|| panic!("{name} is in the set")), &mut todo);
        }
    }
    seen.into_iter().collect()
}

#[test]
fn every_schema_says_of_every_field_what_kubernetes_publishes() {
    let mut theirs: BTreeMap<String, Value> = BTreeMap::new();
    for (_, file) in json_files("openapi-v3") {
        for (name, schema) in file["components"]["schemas"].as_object().into_iter().flatten() {
            theirs.insert(name.clone(), schema.clone());
        }
    }
    if theirs.is_empty() {
        return;
    }
    let set = schema::builtin();
    let registry = Registry::builtin();
    let served: Vec<String> =
        registry.iter().map(|kind| kind.schema.to_string()).chain(set.iter().map(|(name, _)| name.to_string())).collect();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for name in closure(set, served) {
        let Some(expected) = theirs.get(&name) else {
            // Types that no path of the oracle names.
            continue;
        };
        let mut expected = published(expected);
        let mut own = ours(set.get(&name).expect("is in the set"));
        // DeleteOptions and WatchEvent belong to every group; raw documents have no type of their own.
        let kinds = expected.get("x-kubernetes-group-version-kind").and_then(Value::as_array).map_or(0, Vec::len);
        let raw = own == json!({"type": "object"});
        for document in [&mut expected, &mut own] {
            let document = document.as_object_mut().expect("an object");
            if kinds > 1 || name.starts_with("io.k8s.apimachinery.pkg.apis.meta.v1") {
                document.remove("x-kubernetes-group-version-kind");
            }
            if raw {
                document.clear();
            }
        }
        compared += 1;
        compare(&name, &expected, &own, &theirs, &mut wrong);
    }
    println!("compared {compared} schemas");
    assert!(compared > 400, "only {compared} schemas were compared");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// An inline struct of ours stands for a reference whose map type the field overrides.
fn compare(path: &str, expected: &Value, own: &Value, theirs: &BTreeMap<String, Value>, wrong: &mut Vec<String>) {
    if expected == own {
        return;
    }
    let reference = expected.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
    if let (Some(name), Some(_)) = (reference, own.get("properties")) {
        let mut inline = published(&theirs[name]);
        let (inline_map, field) = (inline.as_object_mut().expect("an object"), own.as_object().expect("an object"));
        inline_map.remove("x-kubernetes-map-type");
        for (key, value) in expected.as_object().expect("an object") {
            if key != "$ref" {
                inline_map.insert(key.clone(), value.clone());
            }
        }
        if inline_map != field {
            wrong.push(format!("{path}: the inline struct differs from {name}"));
        }
        return;
    }
    match (expected.as_object(), own.as_object()) {
        (Some(expected), Some(own)) => {
            let keys: std::collections::BTreeSet<&String> = expected.keys().chain(own.keys()).collect();
            for key in keys {
                match (expected.get(key), own.get(key)) {
                    (Some(expected), Some(own)) => compare(&format!("{path}.{key}"), expected, own, theirs, wrong),
                    (expected, own) => wrong.push(format!("{path}.{key}: theirs {expected:?}, ours {own:?}")),
                }
            }
        }
        _ => wrong.push(format!("{path}: theirs {expected}, ours {own}")),
    }
}

#[test]
fn every_resource_is_discovered_as_kubernetes_serves_it() {
    let mut resources: BTreeMap<(String, String), Value> = BTreeMap::new();
    for (_, file) in json_files("discovery").into_iter().filter(|(_, file)| file["kind"] == "APIResourceList") {
        for resource in file["resources"].as_array().into_iter().flatten() {
            let key =
                (file["groupVersion"].as_str().unwrap_or("").to_owned(), resource["name"].as_str().unwrap_or("").to_owned());
            resources.insert(key, resource.clone());
        }
    }
    if resources.is_empty() {
        return;
    }
    let mut ours = std::collections::BTreeSet::new();
    for descriptor in Registry::builtin().iter() {
        for version in &descriptor.versions {
            let group_version = match &*descriptor.group {
                "" => version.to_string(),
                group => format!("{group}/{version}"),
            };
            compare_resource(&descriptor, &group_version, &resources, &mut ours);
        }
    }
    let missing: Vec<String> = resources
        .keys()
        .filter(|(group_version, _)| matches!(group_version.rsplit('/').next(), Some("v1" | "v2")))
        .filter(|key| !ours.contains(*key))
        .map(|(group_version, name)| format!("{group_version} {name}"))
        .filter(|name| !NOT_SERVED.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not served: {missing:?}");
}

/// What Kubernetes serves and these descriptors do not.
const NOT_SERVED: &[&str] =
    &["apiextensions.k8s.io/v1 customresourcedefinitions", "apiextensions.k8s.io/v1 customresourcedefinitions/status"];

type Key = (String, String);

fn compare_resource(
    descriptor: &ResourceDescriptor,
    group_version: &str,
    resources: &BTreeMap<Key, Value>,
    ours: &mut std::collections::BTreeSet<Key>,
) {
    let key = (group_version.to_owned(), descriptor.resource.to_string());
    let theirs = resources.get(&key).unwrap_or_else(|| panic!("{key:?} is not of Kubernetes"));
    ours.insert(key);
    let names = |key: &str| -> Vec<&str> { theirs[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let texts = |list: &[std::sync::Arc<str>]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    let sorted = |verbs: &[mizzen_api::Verb]| -> Vec<&str> {
        let mut verbs: Vec<&str> = verbs.iter().map(|verb| verb.as_str()).collect();
        verbs.sort_unstable();
        verbs
    };
    assert_eq!(theirs["kind"], *descriptor.kind);
    assert_eq!(theirs["singularName"], *descriptor.singular);
    assert_eq!(theirs["namespaced"], descriptor.scope == Scope::Namespaced, "{}", descriptor.kind);
    assert_eq!(names("shortNames"), texts(&descriptor.short_names), "{}", descriptor.kind);
    assert_eq!(names("categories"), texts(&descriptor.categories), "{}", descriptor.kind);
    assert_eq!(names("verbs"), sorted(descriptor.verbs), "{}", descriptor.kind);
    for subresource in &descriptor.subresources {
        let key = (group_version.to_owned(), format!("{}/{}", descriptor.resource, subresource.name));
        let theirs = resources.get(&key).unwrap_or_else(|| panic!("{key:?} is not of Kubernetes"));
        assert_eq!(theirs["kind"], *subresource.kind.as_ref().map_or(&*descriptor.kind, |gvk| &*gvk.kind), "{key:?}");
        let served: Vec<&str> = theirs["verbs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(served, sorted(subresource.verbs), "{key:?}");
        ours.insert(key);
    }
}

#[test]
fn a_filled_in_object_of_every_kind_fits_its_schema_and_keeps_every_field() {
    let set = schema::builtin();
    let files = json_files("testdata");
    for descriptor in Registry::builtin().iter() {
        let package = match &*descriptor.group {
            "" => "core",
            group => group,
        };
        let name = format!("{package}.{}.{}", descriptor.storage_version(), descriptor.kind);
        let Some((_, object)) = files.iter().find(|(file, _)| *file == name) else { continue };
        let problems: Vec<String> = schema::check(set, &descriptor.schema, object).iter().map(ToString::to_string).collect();
        assert_eq!(problems, Vec::<String>::new(), "{name}");
        let mut defaulted = object.clone();
        schema::apply_defaults(set, &descriptor.schema, &mut defaulted);
        descriptor.strategy.default(&mut defaulted);
        descriptor.strategy.validate(&defaulted);
        descriptor.strategy.validate_update(&defaulted, object);
        let now = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
        let cells = descriptor.strategy.cells(&defaulted, mizzen_api::descriptor::Context { now });
        assert_eq!(cells.len(), descriptor.strategy.columns().len(), "{name}");
        assert_keeps(&name, object, &defaulted);
    }
}

/// Everything of `before` is in `after`, but what Kubernetes itself moves elsewhere.
fn assert_keeps(path: &str, before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                if (path.ends_with(".Secret") && key == "stringData") || value.is_null() {
                    continue;
                }
                let kept = after.get(key).unwrap_or_else(|| panic!("{path}.{key} was lost"));
                assert_keeps(&format!("{path}.{key}"), value, kept);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len(), "{path}");
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                assert_keeps(&format!("{path}[{index}]"), before, after);
            }
        }
        (before, after) => {
            let mirrored = path.ends_with(".serviceAccount") || path.ends_with(".serviceAccountName");
            assert!(before == after || mirrored, "{path}: {before} became {after}");
        }
    }
}
