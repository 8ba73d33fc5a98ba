//! Labels of nodes that have newer names.

use serde_json::Value;

use super::items;

/// The old name, since when it is deprecated, and the new one.
const RENAMED: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];

/// Since when a label is deprecated, and by which name it goes now.
pub(in crate::admission) fn instead(label: &str) -> Option<String> {
    let (_, since, new) = RENAMED.iter().find(|(old, ..)| *old == label)?;
    Some(format!("deprecated since {since}; use {new:?} instead"))
}

/// Wherever the spec names nodes by their labels.
pub(super) fn of(spec: &Value, at: &str) -> Vec<String> {
    let selected = spec["nodeSelector"].as_object().into_iter().flatten();
    let mut warnings: Vec<String> =
        selected.filter_map(|(label, _)| Some(format!("{at}.nodeSelector[{label}]: {}", instead(label)?))).collect();
    let affinity = &spec["affinity"]["nodeAffinity"];
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(&affinity[required]["nodeSelectorTerms"]) {
        warnings.extend(of_term(term, &format!("{at}.affinity.nodeAffinity.{required}.nodeSelectorTerms[{index}]")));
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(&affinity[preferred]) {
        warnings.extend(of_term(&term["preference"], &format!("{at}.affinity.nodeAffinity.{preferred}[{index}].preference")));
    }
    for (index, constraint) in items(&spec["topologySpreadConstraints"]) {
        let key = constraint["topologyKey"].as_str().unwrap_or_default();
        if let Some(instead) = instead(key) {
            warnings.push(format!("{at}.topologySpreadConstraints[{index}].topologyKey: {key} is {instead}"));
        }
    }
    warnings
}

/// Of one term of a node selector.
pub(in crate::admission) fn of_term(term: &Value, at: &str) -> Vec<String> {
    let renamed = |(index, expression): (usize, &Value)| {
        let key = expression["key"].as_str()?;
        Some(format!("{at}.matchExpressions[{index}].key: {key} is {}", instead(key)?))
    };
    items(&term["matchExpressions"]).filter_map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_names_are_told_wherever_they_stand() {
        let term = json!({"matchExpressions": [{"key": "foo"}, {"key": "beta.kubernetes.io/os"}]});
        let spec = json!({"nodeSelector": {"beta.kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"},
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"preference": term}]}},
            "topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}]});
        let os = r#"beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead"#;
        let affinity = "spec.template.spec.affinity.nodeAffinity";
        assert_eq!(
            of(&spec, "spec.template.spec"),
            [
                r#"spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead"#.to_owned(),
                format!("{affinity}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].key: {os}"),
                format!("{affinity}.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[1].key: {os}"),
                concat!(
                    "spec.template.spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone ",
                    r#"is deprecated since v1.17; use "topology.kubernetes.io/zone" instead"#
                )
                .to_owned(),
            ]
        );
    }
}
