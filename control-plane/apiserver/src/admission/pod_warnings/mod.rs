//! What a pod's manifest says that is accepted and does not do what it seems to: warnings, in Kubernetes' words.

mod containers;
mod labels;
mod volumes;

use std::collections::HashSet;

use async_trait::async_trait;
use mizzen_api::Status;
use mizzen_api::quantity::Quantity;
use serde_json::Value;

pub(super) use labels::{instead, of_term};

use super::pod_security::TEMPLATES;
use super::{Attributes, Operation, Plugin};

/// Clients are shown fewer of one request.
const MOST: usize = 100;

pub(super) struct PodWarnings;

#[async_trait]
impl Plugin for PodWarnings {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update) && attributes.subresource().is_empty();
        let Some(object) = object.filter(|_| writes) else { return Ok(()) };
        let at = match attributes.target.is_pod() {
            // A pod's manifest is its author's once; whoever updates it later wrote none of this.
            true if attributes.operation == Operation::Update => return Ok(()),
            true => "",
            false => match TEMPLATES.iter().find(|held| (held.0, held.1) == (attributes.group(), attributes.resource())) {
                Some((_, _, at)) => at,
                None => return Ok(()),
            },
        };
        let spec = format!("{at}/spec");
        let Some(found) = object.pointer(&spec) else { return Ok(()) };
        if attributes.old.and_then(|old| old.pointer(&spec)) != Some(found) {
            let told = of(found, &spec[1..].replace('/', ".")).into_iter().take(MOST);
            told.for_each(|warning| attributes.warnings.add(warning));
        }
        Ok(())
    }
}

/// All there is to say of a pod's `spec`, whose place in the object is `at`.
fn of(spec: &Value, at: &str) -> Vec<String> {
    let mut warnings = labels::of(spec, at);
    for (list, key, what) in [("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")] {
        let mut before = HashSet::new();
        for (index, item) in items(&spec[list]) {
            let item = item[key].as_str().unwrap_or_default();
            if item.is_empty() && list == "imagePullSecrets" {
                warnings.push(format!("{at}.{list}[{index}].{key}: invalid empty name \"\""));
            } else if !before.insert(item) {
                warnings.push(format!("{at}.{list}[{index}].{key}: duplicate {what} {item:?}"));
            }
        }
    }
    warnings.extend(fractions(&spec["overhead"], &format!("{at}.overhead")));
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{at}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    warnings.extend(volumes::of(spec, at));
    warnings.extend(containers::of(spec, at));
    warnings
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

/// Bytes come whole.
fn fractions(resources: &Value, at: &str) -> Vec<String> {
    let is_fraction = |amount: &Value| Quantity::from_value(amount).is_ok_and(|amount| amount.milli_value() % 1000 != 0);
    let found = ["ephemeral-storage", "memory"].into_iter().filter_map(|name| Some((name, resources.get(name)?)));
    found
        .filter(|(_, amount)| is_fraction(amount))
        .map(|(name, amount)| {
            let amount = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            format!("{at}[{name}]: fractional byte value {amount:?} is invalid, must be an integer")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_numbers_that_do_not_do_what_they_seem_to() {
        let spec = json!({"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}], "terminationGracePeriodSeconds": -1,
            "imagePullSecrets": [{"name": "a"}, {"name": ""}, {"name": "a"}], "overhead": {"memory": "4m", "cpu": "4m"}});
        assert_eq!(
            of(&spec, "spec"),
            [
                r#"spec.hostAliases[1].ip: duplicate ip "1.1.1.1""#,
                r#"spec.imagePullSecrets[1].name: invalid empty name """#,
                r#"spec.imagePullSecrets[2].name: duplicate name "a""#,
                r#"spec.overhead[memory]: fractional byte value "4m" is invalid, must be an integer"#,
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ]
        );
    }

    #[test]
    fn an_ordinary_pod_causes_none() {
        let spec = json!({"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}],
            "resources": {"limits": {"memory": "1Gi", "cpu": "100m"}}, "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "nodeSelector": {"kubernetes.io/os": "linux"}, "terminationGracePeriodSeconds": 0});
        assert_eq!(of(&spec, "spec"), [""; 0]);
    }
}
