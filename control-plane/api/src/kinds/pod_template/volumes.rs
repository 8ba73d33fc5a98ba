//! `spec.volumes`.

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{int, list, text};
use super::containers::{check_field_reference, check_inner_path, check_reference_name, check_resource_reference};
use crate::status::Cause;
use crate::validate::{Path, check_quantity, complaints, dns1123_label, duplicate, forbidden, invalid, one_of, required};

/// Fields of a volume that do not say where it comes from.
const NOT_SOURCES: &[&str] = &["name"];

const FILE_FIELDS: &[&str] = &["metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"];

/// Gives the names of the volumes.
pub(super) fn check_volumes<'a>(spec: &'a Value, path: &Path, causes: &mut Vec<Cause>) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    let volumes = path.field("volumes");
    for (index, volume) in list(spec, "/volumes").iter().enumerate() {
        let at = volumes.index(index);
        match text(volume, "/name") {
            "" => causes.push(required(at.field("name"), "")),
            name => {
                causes.extend(complaints(at.field("name"), name, dns1123_label(name)));
                if !names.insert(name) {
                    causes.push(duplicate(at.field("name"), &name.into()));
                }
            }
        }
        let mut sources = volume
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, value)| !NOT_SOURCES.contains(&key.as_str()) && (value.is_object()));
        match sources.next() {
            None => causes.push(required(at, "must specify a volume type")),
            Some((kind, source)) => {
                check_source(kind, source, &at.field(kind), causes);
                for (more, _) in sources {
                    causes.push(forbidden(at.field(more), "may not specify more than 1 volume type"));
                }
            }
        }
    }
    names
}

fn check_source(kind: &str, source: &Value, at: &Path, causes: &mut Vec<Cause>) {
    check_mode(source, "defaultMode", at, causes);
    match kind {
        "hostPath" => {
            match text(source, "/path") {
                "" => causes.push(required(at.field("path"), "")),
                path if path.split('/').any(|part| part == "..") => {
                    causes.push(invalid(at.field("path"), &path.into(), "must not contain '..'"));
                }
                _ => {}
            }
            let types = ["DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
            causes.extend(one_of(at.field("type"), text(source, "/type"), &types));
        }
        "emptyDir" => {
            if let Some(size) = source.get("sizeLimit").filter(|size| !size.is_null()) {
                check_quantity(size, &at.field("sizeLimit"), causes);
            }
        }
        "secret" => {
            if text(source, "/secretName").is_empty() {
                causes.push(required(at.field("secretName"), ""));
            }
            check_items(source, at, causes);
        }
        "configMap" => {
            if text(source, "/name").is_empty() {
                causes.push(required(at.field("name"), ""));
            }
            check_items(source, at, causes);
        }
        "persistentVolumeClaim" => check_reference_name(text(source, "/claimName"), &at.field("claimName"), causes),
        "downwardAPI" => check_downward(source, at, causes),
        "projected" => {
            let sources = at.field("sources");
            for (index, source) in list(source, "/sources").iter().enumerate() {
                check_projection(source, &sources.index(index), causes);
            }
        }
        "nfs" => {
            for field in ["server", "path"] {
                if text(source, &format!("/{field}")).is_empty() {
                    causes.push(required(at.field(field), ""));
                }
            }
        }
        _ => {}
    }
}

fn check_projection(source: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let mut kinds = source.as_object().into_iter().flatten().filter(|(_, value)| value.is_object());
    let Some((kind, first)) = kinds.next() else { return };
    for (more, _) in kinds {
        causes.push(forbidden(at.field(more), "may not specify more than 1 volume type"));
    }
    let at = at.field(kind);
    match kind.as_str() {
        "secret" | "configMap" => {
            if text(first, "/name").is_empty() {
                causes.push(required(at.field("name"), ""));
            }
            check_items(first, &at, causes);
        }
        "downwardAPI" => check_downward(first, &at, causes),
        "serviceAccountToken" => {
            if let Some(seconds) = int(first, "/expirationSeconds") {
                if seconds < 600 {
                    causes.push(invalid(
                        at.field("expirationSeconds"),
                        &seconds.into(),
                        "may not specify a duration less than 10 minutes",
                    ));
                } else if seconds > 1 << 32 {
                    causes.push(invalid(
                        at.field("expirationSeconds"),
                        &seconds.into(),
                        "may not specify a duration larger than 2^32 seconds",
                    ));
                }
            }
            match text(first, "/path") {
                "" => causes.push(required(at.field("path"), "")),
                path => check_inner_path(path, &at.field("path"), causes),
            }
        }
        _ => {}
    }
}

fn check_items(source: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let items = at.field("items");
    for (index, item) in list(source, "/items").iter().enumerate() {
        let at = items.index(index);
        if text(item, "/key").is_empty() {
            causes.push(required(at.field("key"), ""));
        }
        check_file(item, &at, causes);
    }
}

fn check_downward(source: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let items = at.field("items");
    for (index, item) in list(source, "/items").iter().enumerate() {
        let at = items.index(index);
        check_file(item, &at, causes);
        match (item.get("fieldRef"), item.get("resourceFieldRef")) {
            (Some(_), Some(_)) => {
                causes.push(invalid(at, &"resource".into(), "fieldRef and resourceFieldRef can not be specified simultaneously"));
            }
            (Some(field), None) => check_field_reference(field, FILE_FIELDS, &at.field("fieldRef"), causes),
            (None, Some(resource)) => {
                if text(resource, "/containerName").is_empty() {
                    causes.push(required(at.field("resourceFieldRef").field("containerName"), ""));
                }
                check_resource_reference(resource, &at.field("resourceFieldRef"), causes);
            }
            (None, None) => causes.push(required(at, "one of fieldRef and resourceFieldRef is required")),
        }
    }
}

fn check_file(item: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match text(item, "/path") {
        "" => causes.push(required(at.field("path"), "")),
        path => check_inner_path(path, &at.field("path"), causes),
    }
    check_mode(item, "mode", at, causes);
}

fn check_mode(holder: &Value, field: &str, at: &Path, causes: &mut Vec<Cause>) {
    if let Some(mode) = holder.get(field).and_then(Value::as_i64)
        && !(0..=0o777).contains(&mode)
    {
        causes.push(invalid(at.field(field), &mode.into(), "must be a number between 0 and 0777 (octal), both inclusive"));
    }
}
