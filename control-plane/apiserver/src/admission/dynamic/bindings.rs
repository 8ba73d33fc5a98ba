//! Bindings: where a policy holds, what follows, and its parameters.

use std::sync::Arc;

use mizzen_api::selector::LabelSelector;
use mizzen_api::{Object, Scope};
use mizzen_extensions::matching::Matching;
use mizzen_extensions::policy::ParamKind;
use mizzen_store::RangeOptions;
use serde_json::Value;

use super::request::Request;

pub(super) struct Binding {
    pub(super) name: String,
    /// The name of its policy.
    pub(super) policy: String,
    pub(super) matching: Matching,
    pub(super) denies: bool,
    pub(super) warns: bool,
    pub(super) audits: bool,
    parameters: Option<Parameters>,
}

/// `spec.paramRef`.
struct Parameters {
    name: String,
    /// Empty: that of the request.
    namespace: String,
    selector: LabelSelector,
    denies_without: bool,
}

impl Binding {
    pub(super) fn parse(document: &Value) -> Self {
        let spec = &document["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let acts = |action: &str| spec["validationActions"].as_array().into_iter().flatten().any(|given| given == action);
        let reference = spec.get("paramRef").filter(|reference| reference.is_object());
        let parameters = reference.map(|reference| Parameters {
            name: text(&reference["name"]),
            namespace: text(&reference["namespace"]),
            selector: LabelSelector::from_document(reference.get("selector").filter(|selector| selector.is_object()))
                .unwrap_or_else(|_| LabelSelector::nothing()),
            denies_without: reference["parameterNotFoundAction"] != "Allow",
        });
        Self {
            name: text(&document["metadata"]["name"]),
            policy: text(&spec["policyName"]),
            matching: Matching::parse(&spec["matchResources"], "resourceRules", true),
            denies: acts("Deny"),
            warns: acts("Warn"),
            audits: acts("Audit"),
            parameters,
        }
    }

    /// `spec.validationActions`.
    pub(super) fn actions(&self) -> Vec<&'static str> {
        let all = [("Deny", self.denies), ("Warn", self.warns), ("Audit", self.audits)];
        all.into_iter().filter(|(_, acts)| *acts).map(|(name, _)| name).collect()
    }

    /// The parameters that the policy is asked with, one after the other; `None` stands for `null`.
    ///
    /// # Errors
    /// When there are none and there should be.
    pub(super) fn parameters(&self, kind: Option<&ParamKind>, request: &Request<'_>) -> Result<Vec<Option<Value>>, String> {
        let (Some(kind), Some(reference)) = (kind, &self.parameters) else { return Ok(vec![None]) };
        let attributes = request.attributes;
        let descriptor = attributes.registry.by_kind(&kind.group, &kind.version, &kind.kind).ok_or_else(|| {
            format!(
                "failed to configure policy: failed to find resource referenced by paramKind: '{}/{}, Kind={}'",
                kind.group, kind.version, kind.kind
            )
        })?;
        let namespace = match descriptor.scope {
            Scope::Cluster => "",
            Scope::Namespaced if !reference.namespace.is_empty() => &reference.namespace,
            Scope::Namespaced if !attributes.namespace().is_empty() => attributes.namespace(),
            Scope::Namespaced => {
                return Err("failed to configure binding: cannot use namespaced paramRef in policy binding that matches \
                            cluster-scoped resources"
                    .to_owned());
            }
        };
        let objects: Vec<Arc<Object>> = if reference.name.is_empty() {
            let prefix = match namespace {
                "" => descriptor.prefix(),
                namespace => format!("{}{namespace}/", descriptor.prefix()),
            };
            let range = attributes.store.range(&prefix, &RangeOptions::default());
            let items = range.map_err(|error| format!("failed to configure binding: {error}"))?.items;
            items.into_iter().map(|(_, object)| object).collect()
        } else {
            attributes.store.get(&descriptor.key(namespace, &reference.name)).into_iter().collect()
        };
        let documents = objects.iter().filter_map(|object| object.value().ok());
        let found: Vec<Option<Value>> = documents
            .filter(|document| {
                !reference.name.is_empty() || reference.selector.matches_value(document.pointer("/metadata/labels"))
            })
            .map(Some)
            .collect();
        match found.is_empty() {
            true if reference.denies_without => {
                Err("failed to configure binding: no params found for policy binding with `Deny` \
                                                     parameterNotFoundAction"
                    .to_owned())
            }
            _ => Ok(found),
        }
    }
}
