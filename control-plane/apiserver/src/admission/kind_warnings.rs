//! What a manifest other than a pod's says that is accepted and is on its way out, or does not do what it seems to:
//! warnings, in Kubernetes' words.

use async_trait::async_trait;
use mizzen_api::Status;
use mizzen_api::quantity::Quantity;
use serde_json::Value;

use super::pod_warnings::{instead, of_term};
use super::{Attributes, Operation, Plugin};

pub(super) struct KindWarnings;

const STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
/// The longest name that pods have in their host names, in bytes.
const LABEL: usize = 63;

#[async_trait]
impl Plugin for KindWarnings {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update) && attributes.subresource().is_empty();
        let Some(object) = object.filter(|_| writes) else { return Ok(()) };
        let found = of(attributes.group(), attributes.resource(), object, attributes.operation == Operation::Create);
        found.into_iter().for_each(|warning| attributes.warnings.add(warning));
        Ok(())
    }
}

fn of(group: &str, resource: &str, object: &Value, is_new: bool) -> Vec<String> {
    match (group, resource) {
        ("apps", "deployments" | "replicasets") | ("", "replicationcontrollers") | ("batch", "jobs" | "cronjobs") if is_new => {
            name(object)
        }
        ("", "persistentvolumes") => volume(object),
        ("", "persistentvolumeclaims") => claim(object),
        ("networking.k8s.io", "ingresses") if is_new => ingress(object),
        ("storage.k8s.io", "storageclasses") => storage_class(object),
        _ => Vec::new(),
    }
}

/// The names of pods begin with it.
fn name(object: &Value) -> Vec<String> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut wrong = Vec::new();
    if name.len() > LABEL {
        wrong.push(format!("must be no more than {LABEL} bytes"));
    }
    if name.contains('.') {
        wrong.push("must not contain dots".to_owned());
    }
    if wrong.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
         a DNS label is recommended: [{}]",
        wrong.join(" ")
    )]
}

fn annotated(object: &Value, annotation: &str, since: &str, field: &str) -> Option<String> {
    object["metadata"]["annotations"].get(annotation)?;
    Some(format!("metadata.annotations[{annotation}]: deprecated since {since}; use {field:?} attribute instead"))
}

fn volume(object: &Value) -> Vec<String> {
    let annotations =
        [annotated(object, STORAGE_CLASS, "v1.8", "storageClassName"), annotated(object, MOUNT_OPTIONS, "v1.31", "mountOptions")];
    let mut warnings: Vec<String> = annotations.into_iter().flatten().collect();
    let spec = &object["spec"];
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        warnings.push(format!("spec.persistentVolumeReclaimPolicy: {why}"));
    }
    let terms = spec["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array().into_iter().flatten();
    for (index, term) in terms.enumerate() {
        warnings.extend(of_term(term, &format!("spec.nodeAffinity.required.nodeSelectorTerms[{index}]")));
    }
    warnings
}

fn claim(object: &Value) -> Vec<String> {
    let mut warnings: Vec<String> = annotated(object, STORAGE_CLASS, "v1.8", "storageClassName").into_iter().collect();
    for list in ["limits", "requests"] {
        let Some(amount) = object["spec"]["resources"][list].get("storage") else { continue };
        if Quantity::from_value(amount).is_ok_and(|amount| amount.milli_value() % 1000 != 0) {
            let amount = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
            let why = format!("fractional byte value {amount:?} is invalid, must be an integer");
            warnings.push(format!("spec.resources.{list}[storage]: {why}"));
        }
    }
    warnings
}

fn ingress(object: &Value) -> Vec<String> {
    let class = "kubernetes.io/ingress.class";
    let named = object["metadata"]["annotations"].get(class).is_some();
    named.then(|| format!("annotation {class:?} is deprecated, please use 'spec.ingressClassName' instead")).into_iter().collect()
}

fn storage_class(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, topology) in object["allowedTopologies"].as_array().into_iter().flatten().enumerate() {
        for (at, expression) in topology["matchLabelExpressions"].as_array().into_iter().flatten().enumerate() {
            let key = expression["key"].as_str().unwrap_or_default();
            if let Some(instead) = instead(key) {
                warnings.push(format!("allowedTopologies[{index}].matchLabelExpressions[{at}].key: {key} is {instead}"));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_with_dots_are_told_once_and_only_of_what_makes_pods() {
        let named = |name: &str| json!({"metadata": {"name": name}});
        let told = of("batch", "jobs", &named("a.b"), true);
        assert!(told.len() == 1 && told[0].ends_with("a DNS label is recommended: [must not contain dots]"), "{told:?}");
        assert_eq!(of("apps", "deployments", &named("ab"), true), [""; 0]);
        assert_eq!(of("apps", "deployments", &named("a.b"), false), [""; 0]);
        assert_eq!(of("", "configmaps", &named("a.b"), true), [""; 0]);
    }

    #[test]
    fn volumes_and_claims_are_told_what_took_the_place_of_what_they_say() {
        let old = json!({STORAGE_CLASS: "a"});
        let term = json!({"matchExpressions": [{"key": "beta.kubernetes.io/os"}]});
        let volume = json!({"metadata": {"annotations": old}, "spec": {
            "persistentVolumeReclaimPolicy": "Recycle", "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}});
        assert_eq!(
            of("", "persistentvolumes", &volume, false),
            [
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
                "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
            ]
        );
        let claim = json!({"spec": {"resources": {"requests": {"storage": "1.5"}, "limits": {"storage": "1Gi"}}}});
        assert_eq!(
            of("", "persistentvolumeclaims", &claim, true),
            ["spec.resources.requests[storage]: fractional byte value \"1.5\" is invalid, must be an integer"]
        );
    }

    #[test]
    fn ingresses_and_storage_classes_are_told_the_newer_name() {
        let ingress = json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}});
        let told = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
        assert_eq!(of("networking.k8s.io", "ingresses", &ingress, true), [told]);
        let expression = json!({"key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"]});
        let class = json!({"allowedTopologies": [{"matchLabelExpressions": [expression]}]});
        assert!(
            of("storage.k8s.io", "storageclasses", &class, false)[0]
                .starts_with("allowedTopologies[0].matchLabelExpressions[0].key: ")
        );
    }
}
