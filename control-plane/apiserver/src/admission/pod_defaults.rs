//! What a new pod gets that its defaults cannot say: a priority, and the status that it begins with.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::{Value, json};

use super::{Attributes, Plugin};

pub(super) struct PodDefaults;

/// The classes that exist without objects (`scheduling/v1`, "system priority classes").
const SYSTEM_CLASSES: &[(&str, i32)] = &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

#[async_trait]
impl Plugin for PodDefaults {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if !attributes.writes_pod() {
            return Ok(());
        }
        if let Some(old) = attributes.old {
            keep_priority(object, old);
            return Ok(());
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let class = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let priority = match class.as_str() {
            "" => 0,
            class => match SYSTEM_CLASSES.iter().find(|(name, _)| *name == class) {
                Some((_, priority)) => *priority,
                None => return Err(attributes.forbid(&format!("no PriorityClass with name {class} was found"))),
            },
        };
        match spec.get("priority").and_then(Value::as_i64) {
            Some(given) if given != i64::from(priority) => {
                let why = format!(
                    "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
                     computed {priority} from the given PriorityClass name"
                );
                return Err(attributes.forbid(&why));
            }
            _ => spec.insert("priority".to_owned(), json!(priority)),
        };
        spec.entry("preemptionPolicy").or_insert_with(|| json!("PreemptLowerPriority"));
        Ok(())
    }
}

/// An update that leaves out what was computed when the pod was created does not change it.
fn keep_priority(object: &mut Value, old: &Value) {
    let (Some(spec), Some(old)) = (object.get_mut("spec").and_then(Value::as_object_mut), old.get("spec")) else { return };
    for field in ["priority", "preemptionPolicy"] {
        if let Some(value) = old.get(field).filter(|_| !spec.contains_key(field)) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
}
