//! The quality-of-service class of a pod (`core/v1 PodStatus.qosClass`).

use serde_json::Value;

use crate::quantity::Quantity;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    BestEffort,
    Burstable,
    Guaranteed,
}

impl Qos {
    /// As `status.qosClass` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BestEffort => "BestEffort",
            Self::Burstable => "Burstable",
            Self::Guaranteed => "Guaranteed",
        }
    }
}

/// Guaranteed: each container has limits for CPU and memory, and requests that equal them. BestEffort: no container
/// asks for either. Only CPU and memory count; pod-level resources, where they are set, count instead of the containers'.
pub fn qos_class(spec: &Value) -> Qos {
    let pod_level = spec.get("resources").filter(|resources| asks(resources));
    let all: Vec<&Value> = match pod_level {
        Some(resources) => vec![resources],
        None => {
            static NONE: Value = Value::Null;
            ["initContainers", "containers"]
                .iter()
                .filter_map(|field| spec.get(field)?.as_array())
                .flatten()
                .map(|container| container.get("resources").unwrap_or(&NONE))
                .collect()
        }
    };
    if !all.iter().any(|resources| asks(resources)) {
        Qos::BestEffort
    } else if all.iter().all(|resources| is_guaranteed(resources)) {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

fn amount(resources: &Value, list: &str, name: &str) -> Option<Quantity> {
    Quantity::from_value(resources.get(list)?.get(name)?).ok().filter(|quantity| !quantity.is_zero())
}

fn asks(resources: &Value) -> bool {
    ["requests", "limits"].iter().any(|list| ["cpu", "memory"].iter().any(|name| amount(resources, list, name).is_some()))
}

fn is_guaranteed(resources: &Value) -> bool {
    ["cpu", "memory"].iter().all(|name| {
        let limit = amount(resources, "limits", name);
        limit.is_some() && amount(resources, "requests", name).or(limit) == limit
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let equal = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}});
        let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let none = json!({});
        let storage = json!({"requests": {"ephemeral-storage": "1Gi"}});
        let zero = json!({"requests": {"cpu": "0"}});
        let cpu = json!({"requests": {"cpu": "1"}});
        let less = json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        for (containers, class) in [
            (vec![&equal], Qos::Guaranteed),
            (vec![&limits], Qos::Guaranteed),
            (vec![&equal, &none], Qos::Burstable),
            (vec![&none, &none], Qos::BestEffort),
            (vec![&storage], Qos::BestEffort),
            (vec![&zero], Qos::BestEffort),
            (vec![&cpu], Qos::Burstable),
            (vec![&less], Qos::Burstable),
        ] {
            let list: Vec<Value> = containers.iter().map(|resources| json!({"name": "a", "resources": resources})).collect();
            assert_eq!(qos_class(&json!({"containers": list})), class, "{list:?}");
        }
        assert_eq!(qos_class(&json!({"containers": [{"name": "a"}], "initContainers": [{"resources": cpu}]})), Qos::Burstable);
        assert_eq!(qos_class(&json!({"containers": [{"name": "a"}], "resources": equal})), Qos::Guaranteed);
    }
}
