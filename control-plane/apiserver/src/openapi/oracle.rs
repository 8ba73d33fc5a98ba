//! The documents beside those that Kubernetes publishes (`shared/oracle`, not a part of the project): skipped with a notice
//! where those files are not present.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use mizzen_api::Registry;
use serde_json::{Map, Value};

use super::make;

/// What is not served here: alpha and beta versions, groups that have no others, and the files of a node's logs.
fn is_served(name: &str) -> bool {
    let version = name.rsplit('/').next().unwrap_or(name);
    let unstable = version.starts_with('v') && (version.contains("alpha") || version.contains("beta"));
    !unstable && !matches!(name, "logs" | "apis/internal.apiserver.k8s.io" | "apis/storagemigration.k8s.io")
}

/// Without prose. What is required stands in the order of Go's fields there, and by name here.
fn structure(value: &Value, of_names: bool) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(key, value)| of_names || *key != "description" || value.is_object());
            kept.map(|(key, value)| match value {
                Value::Array(names) if key == "required" && !of_names => {
                    let names: BTreeSet<&str> = names.iter().filter_map(Value::as_str).collect();
                    (key.clone(), names.into_iter().collect())
                }
                value => (key.clone(), structure(value, key == "properties")),
            })
            .collect()
        }
        Value::Array(items) => items.iter().map(|item| structure(item, false)).collect(),
        other => other.clone(),
    }
}

fn compare(path: &str, theirs: &Value, ours: &Value, wrong: &mut Vec<String>) {
    match (theirs.as_object(), ours.as_object()) {
        (Some(theirs), Some(ours)) => {
            let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            for key in keys {
                let path = format!("{path} > {key}");
                match (theirs.get(key), ours.get(key)) {
                    (Some(theirs), Some(ours)) => compare(&path, theirs, ours, wrong),
                    (Some(_), None) => wrong.push(format!("{path} is missing")),
                    _ => wrong.push(format!("{path} is too much")),
                }
            }
        }
        _ if theirs != ours => wrong.push(format!("{path}: theirs {theirs}, ours {ours}")),
        _ => {}
    }
}

#[test]
fn every_document_has_the_structure_that_kubernetes_publishes() {
    let root = std::env::var_os("MIZZEN_ORACLE").map_or_else(|| PathBuf::from("/work/shared/oracle"), PathBuf::from);
    let Ok(files) = std::fs::read_dir(root.join("openapi-v3")) else {
        println!("skipped: {} is not here", root.display());
        return;
    };
    let snapshot = crate::custom::builtin(&Registry::builtin().snapshot());
    let documents = make(&snapshot, None);
    let empty = Value::Object(Map::new());
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for file in files {
        let path = file.expect("lists the oracle").path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix("_openapi.json"));
        let Some(name) = name.map(|name| name.replace("__", "/")).filter(|name| is_served(name)) else { continue };
        let theirs: Value = serde_json::from_slice(&std::fs::read(&path).expect("reads the oracle")).expect("is JSON");
        let Some(ours) = documents.get(&name).and_then(|described| described.document.value()) else {
            wrong.push(format!("{name} is missing"));
            continue;
        };
        for place in ["/paths", "/components/schemas", "/components/securitySchemes"] {
            let [theirs, ours] = [&theirs, &ours].map(|document| document.pointer(place).unwrap_or(&empty));
            // A schema may be called "properties" or "required", and so may a path.
            compare(&name, &structure(theirs, true), &structure(ours, true), &mut wrong);
        }
        compared += 1;
    }
    assert!(compared > 45, "only {compared} documents were compared");
    let shown: Vec<&str> = wrong.iter().take(60).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), shown.join("\n"));
}

#[test]
fn what_did_not_change_is_not_made_again() {
    let snapshot = Registry::builtin().snapshot();
    let before = super::Made::new(snapshot.clone(), None);
    let fewer: Vec<_> = snapshot.iter().filter(|descriptor| &*descriptor.resource != "leases").cloned().collect();
    let fewer = Arc::new(mizzen_api::registry::Snapshot::new(fewer, snapshot.schemas().clone()));
    let after = super::Made::new(fewer, Some(&before));
    let is_kept = |name: &str| Arc::ptr_eq(&before.documents[name].document, &after.documents[name].document);
    assert!(is_kept("apis/apps/v1") && is_kept("version"));
    assert!(!after.documents.contains_key("apis/coordination.k8s.io/v1"));
}
