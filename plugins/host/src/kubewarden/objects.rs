//! Objects of the cluster as policies ask for them: selected, and cut down to the fields that they want.

use std::collections::BTreeMap;

use mizzen_api::{FieldSelector, LabelSelector};
use serde_json::Value;

/// What of a list is wanted.
pub(super) struct Wanted<'a> {
    pub(super) labels: &'a str,
    pub(super) fields: &'a str,
    pub(super) masks: Option<&'a [String]>,
    /// Bytes.
    pub(super) most: usize,
}

/// A Kubernetes list of these objects (JSON).
///
/// # Errors
/// When a selector is none, or the list is too long: a part of it would be taken for the whole.
pub(super) fn list(api_version: &str, kind: &str, objects: Vec<String>, wanted: &Wanted<'_>) -> Result<Vec<u8>, String> {
    let labels = LabelSelector::parse(wanted.labels).map_err(|error| error.to_string())?;
    let fields = FieldSelector::parse(wanted.fields).map_err(|error| error.to_string())?;
    let mask = wanted.masks.filter(|masks| !masks.is_empty()).map(Mask::new);
    let as_they_are = labels.is_everything() && fields.is_everything() && mask.is_none();
    let head = serde_json::json!({"apiVersion": api_version, "kind": format!("{kind}List"), "metadata": {}}).to_string();
    let mut list = head.into_bytes();
    // In place of the last brace.
    list.pop();
    list.extend_from_slice(b",\"items\":[");
    let mut is_first = true;
    for object in objects {
        let text = if as_they_are {
            object
        } else {
            let mut object: Value = serde_json::from_str(&object).map_err(|error| error.to_string())?;
            if !(labels.matches_value(object.pointer("/metadata/labels")) && fields.matches(|path| field(&object, path))) {
                continue;
            }
            if let Some(mask) = &mask {
                mask.prune(&mut object);
            }
            object.to_string()
        };
        if list.len() + text.len() > wanted.most {
            return Err(format!("the list of {api_version} {kind} has more than {} bytes", wanted.most));
        }
        if !is_first {
            list.push(b',');
        }
        is_first = false;
        list.extend_from_slice(text.as_bytes());
    }
    list.extend_from_slice(b"]}");
    Ok(list)
}

/// One object, cut down.
///
/// # Errors
/// When it is not JSON.
pub(super) fn masked(object: String, masks: Option<&[String]>) -> Result<Vec<u8>, String> {
    let Some(masks) = masks.filter(|masks| !masks.is_empty()) else { return Ok(object.into_bytes()) };
    let mut object: Value = serde_json::from_str(&object).map_err(|error| error.to_string())?;
    Mask::new(masks).prune(&mut object);
    Ok(object.to_string().into_bytes())
}

fn field(object: &Value, path: &str) -> Option<String> {
    let found = path.split('.').try_fold(object, |value, name| value.get(name))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// The fields that are kept, by paths such as `spec.containers.image`, which go through lists.
#[derive(Default)]
struct Mask(BTreeMap<String, Mask>);

impl Mask {
    fn new(paths: &[String]) -> Self {
        let mut mask = Self::default();
        for path in paths {
            path.split('.').fold(&mut mask, |mask, name| mask.0.entry(name.to_owned()).or_default());
        }
        mask
    }

    /// Without any name, everything below is kept.
    fn prune(&self, value: &mut Value) {
        if self.0.is_empty() {
            return;
        }
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                let mask = self.0.get(name);
                mask.inspect(|mask| mask.prune(value)).is_some()
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| self.prune(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(labels: &str, fields: &str, masks: &[&str], most: usize) -> Result<Value, String> {
        let pod = |name: &str, tier: &str| json!({"metadata": {"name": name, "labels": {"tier": tier}}, "spec": {"containers": [{"image": name, "tty": true}]}});
        let objects = [pod("a", "web"), pod("b", "db")].map(|pod| pod.to_string()).to_vec();
        let masks: Vec<String> = masks.iter().map(|mask| (*mask).to_owned()).collect();
        let list = list("v1", "Pod", objects, &Wanted { labels, fields, masks: Some(&masks), most })?;
        Ok(serde_json::from_slice(&list).unwrap())
    }

    fn names(list: &Value) -> Vec<&str> {
        list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
    }

    #[test]
    fn a_list_is_kubernetes_own_and_selected() {
        let all = listed("", "", &[], 1000).unwrap();
        assert_eq!((&all["apiVersion"], &all["kind"], names(&all)), (&json!("v1"), &json!("PodList"), vec!["a", "b"]));
        assert_eq!(names(&listed("tier=db", "", &[], 1000).unwrap()), ["b"]);
        assert_eq!(names(&listed("tier!=db", "metadata.name=a", &[], 1000).unwrap()), ["a"]);
        assert_eq!(names(&listed("", "metadata.name!=a,metadata.name!=b", &[], 1000).unwrap()), [""; 0]);
        assert!(listed("tier in", "", &[], 1000).is_err());
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_and_never_cut() {
        assert!(listed("", "", &[], 150).unwrap_err().contains("more than 150 bytes"));
    }

    #[test]
    fn masks_go_through_lists_and_keep_what_is_below() {
        let masked = listed("", "", &["metadata.name", "spec.containers.image"], 1000).unwrap();
        assert_eq!(masked["items"][0], json!({"metadata": {"name": "a"}, "spec": {"containers": [{"image": "a"}]}}));
        let whole = super::masked(r#"{"a":{"b":1},"c":2}"#.to_owned(), Some(&["a".to_owned()])).unwrap();
        assert_eq!(whole, br#"{"a":{"b":1}}"#);
    }
}
