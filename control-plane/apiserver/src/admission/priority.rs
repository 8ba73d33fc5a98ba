//! Priority: a pod's class gives its priority and whether it preempts others; at most one class is the default.

use std::sync::Arc;

use async_trait::async_trait;
use mizzen_api::{Object, Status};
use serde_json::{Value, json};

use super::{Attributes, Operation, Plugin, decoded};

pub(super) struct Priority;

const GROUP: &str = "scheduling.k8s.io";
const PREEMPT: &str = "PreemptLowerPriority";

#[async_trait]
impl Plugin for Priority {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if !attributes.writes_pod() {
            return Ok(());
        }
        match attributes.old {
            Some(old) => keep_priority(object, old),
            None => {
                let Some(spec) = object.get_mut("spec") else { return Ok(()) };
                let class = class_of(attributes, spec)?;
                set_priority(spec, class.as_ref()).map_err(|why| attributes.forbid(&why))?;
            }
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let classes = (attributes.group(), attributes.resource()) == (GROUP, "priorityclasses");
        if !classes || attributes.operation == Operation::Delete || !object.is_some_and(is_default) {
            return Ok(());
        }
        let other = default_class(attributes)?.filter(|class| name(class) != attributes.name());
        match other {
            None => Ok(()),
            Some(other) => {
                let why = format!("PriorityClass {} is already marked as default. Only one default can exist", name(&other));
                Err(attributes.forbid(&why))
            }
        }
    }
}

fn is_default(class: &Value) -> bool {
    class.get("globalDefault").and_then(Value::as_bool).unwrap_or(false)
}

fn name(class: &Value) -> &str {
    class.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn value(class: &Value) -> i64 {
    class.get("value").and_then(Value::as_i64).unwrap_or(0)
}

/// Of several defaults, which only a race can have made, the lowest counts. Every new pod without a class asks, and most
/// classes do not even hold the words.
fn default_class(attributes: &Attributes<'_>) -> Result<Option<Value>, Status> {
    let says_so = |class: &Arc<Object>| memchr::memmem::find(class.bytes(), br#""globalDefault":true"#).is_some();
    let classes = attributes.stored(GROUP, "priorityclasses", "")?.into_iter().filter(says_so);
    let classes = classes.map(|class| decoded(&class)).collect::<Result<Vec<_>, _>>()?;
    Ok(classes.into_iter().filter(is_default).min_by_key(value))
}

/// The class that a pod names, or else the default one.
fn class_of(attributes: &Attributes<'_>, spec: &Value) -> Result<Option<Value>, Status> {
    match spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default() {
        "" => default_class(attributes),
        class => match attributes.find(GROUP, "priorityclasses", "", class)? {
            Some(found) => Ok(Some(found)),
            None => Err(attributes.forbid(&format!("no PriorityClass with name {class} was found"))),
        },
    }
}

/// # Errors
/// When the pod says something else than its class.
fn set_priority(spec: &mut Value, class: Option<&Value>) -> Result<(), String> {
    let Some(spec) = spec.as_object_mut() else { return Ok(()) };
    let priority = class.map_or(0, value);
    let policy = class.and_then(|class| class.get("preemptionPolicy")?.as_str()).unwrap_or(PREEMPT);
    let computed = "must not be provided in pod spec; priority admission controller computed";
    let class_words = "from the given PriorityClass name";
    if let Some(given) = spec.get("priority").and_then(Value::as_i64).filter(|given| *given != priority) {
        return Err(format!("the integer value of priority ({given}) {computed} {priority} {class_words}"));
    }
    if let Some(given) = spec.get("preemptionPolicy").and_then(Value::as_str).filter(|given| *given != policy) {
        return Err(format!("the string value of PreemptionPolicy ({given}) {computed} {policy} {class_words}"));
    }
    if let Some(class) = class {
        spec.insert("priorityClassName".to_owned(), json!(name(class)));
    }
    spec.insert("priority".to_owned(), json!(priority));
    spec.insert("preemptionPolicy".to_owned(), json!(policy));
    Ok(())
}

/// An update that leaves out what was computed when the pod was created does not change it.
fn keep_priority(object: &mut Value, old: &Value) {
    let (Some(spec), Some(old)) = (object.get_mut("spec").and_then(Value::as_object_mut), old.get("spec")) else { return };
    for field in ["priorityClassName", "priority", "preemptionPolicy"] {
        if let Some(value) = old.get(field).filter(|_| !spec.contains_key(field)) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_what_its_class_says_and_may_not_say_otherwise() {
        let class = json!({"metadata": {"name": "high"}, "value": 7, "preemptionPolicy": "Never"});
        for (mut spec, class, expected) in [
            (json!({}), None, Ok(json!({"priority": 0, "preemptionPolicy": PREEMPT}))),
            (json!({}), Some(&class), Ok(json!({"priorityClassName": "high", "priority": 7, "preemptionPolicy": "Never"}))),
            (
                json!({"priority": 8}),
                Some(&class),
                Err("the integer value of priority (8) must not be provided in pod spec; priority admission controller \
                     computed 7 from the given PriorityClass name"),
            ),
            (
                json!({"preemptionPolicy": PREEMPT}),
                Some(&class),
                Err("the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority \
                     admission controller computed Never from the given PriorityClass name"),
            ),
        ] {
            let done = set_priority(&mut spec, class).map(|()| spec);
            assert_eq!(done, expected.map_err(str::to_owned));
        }
    }
}
