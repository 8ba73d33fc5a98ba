//! RuntimeClass: a pod's class exists, and adds its overhead and its rules for scheduling to the pod.

use async_trait::async_trait;
use mizzen_api::Status;
use mizzen_api::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{Attributes, Plugin};

pub(super) struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if !attributes.creates_pod() {
            return Ok(());
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let class = match spec.get("runtimeClassName").and_then(Value::as_str) {
            None | Some("") => Value::Null,
            Some(name) => attributes
                .find("node.k8s.io", "runtimeclasses", "", name)?
                .ok_or_else(|| attributes.forbid(&format!("pod rejected: RuntimeClass {name:?} not found")))?,
        };
        set_overhead(spec, &class).and_then(|()| set_scheduling(spec, &class)).map_err(|why| attributes.forbid(&why))
    }
}

fn is_empty(list: &Value) -> bool {
    list.as_object().is_none_or(Map::is_empty)
}

fn set_overhead(spec: &mut Map<String, Value>, class: &Value) -> Result<(), String> {
    let stated = spec.get("overhead").filter(|overhead| !is_empty(overhead));
    match (class.pointer("/overhead/podFixed").filter(|overhead| !is_empty(overhead)), stated) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".to_owned()),
        (Some(fixed), Some(stated)) if !same(fixed, stated) => {
            Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".to_owned())
        }
        (Some(fixed), _) => {
            spec.insert("overhead".to_owned(), fixed.clone());
            Ok(())
        }
    }
}

fn same(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return false };
    let amount = |list: &Map<String, Value>, name: &str| list.get(name).and_then(|amount| Quantity::from_value(amount).ok());
    one.len() == other.len() && one.keys().all(|name| amount(one, name) == amount(other, name))
}

fn set_scheduling(spec: &mut Map<String, Value>, class: &Value) -> Result<(), String> {
    if let Some(selector) = class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).filter(|map| !map.is_empty())
        && let Some(own) = spec.entry("nodeSelector").or_insert_with(|| json!({})).as_object_mut()
    {
        for (key, value) in selector {
            let present = own.entry(key).or_insert_with(|| value.clone());
            if present != value {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (theirs, ours) = (text(value), text(present));
                return Err(format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {theirs}; pod.spec.nodeSelector[{key}] = {ours}"
                ));
            }
        }
    }
    if let Some(tolerations) = class.pointer("/scheduling/tolerations").and_then(Value::as_array).filter(|list| !list.is_empty())
        && let Some(own) = spec.entry("tolerations").or_insert_with(|| json!([])).as_array_mut()
    {
        for toleration in tolerations {
            if !own.contains(toleration) {
                own.push(toleration.clone());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(spec: Value, class: &Value) -> Result<Value, String> {
        let mut spec = spec.as_object().cloned().unwrap_or_default();
        set_overhead(&mut spec, class)?;
        set_scheduling(&mut spec, class)?;
        Ok(Value::Object(spec))
    }

    #[test]
    fn a_class_adds_its_overhead_and_scheduling() {
        let gpu = json!({"key": "gpu", "operator": "Exists"});
        let class =
            json!({"overhead": {"podFixed": {"cpu": "250m"}}, "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [gpu]}});
        let full = json!({"overhead": {"cpu": "250m"}, "nodeSelector": {"a": "b"}, "tolerations": [gpu]});
        assert_eq!(admitted(json!({}), &class), Ok(full.clone()));
        assert_eq!(admitted(full.clone(), &class), Ok(full));
        for (spec, why) in [
            (json!({"overhead": {"cpu": "1"}}), "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
            (
                json!({"nodeSelector": {"a": "c"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[a] = b; pod.spec.nodeSelector[a] = c",
            ),
        ] {
            assert_eq!(admitted(spec, &class), Err(why.to_owned()));
        }
        assert!(admitted(json!({"overhead": {"cpu": "1"}}), &Value::Null).is_err());
        assert_eq!(admitted(json!({}), &Value::Null), Ok(json!({})));
    }
}
