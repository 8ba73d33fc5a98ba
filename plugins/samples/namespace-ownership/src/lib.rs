//! What stands in a namespace is changed by its owners, and by nobody else.

use mizzen_policy_sdk::{Decision, Description, Need, Policy, Request, Response, Value, context, policy};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    /// The annotation of namespaces that names their owners, divided by commas.
    annotation: String,
    /// Groups that may change everything.
    administrators: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { annotation: "mizzen.dev/owners".to_owned(), administrators: vec!["system:masters".to_owned()] }
    }
}

struct Ownership(Settings);

impl Policy for Ownership {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self(settings))
    }

    fn description(&self) -> Description {
        let need = Need {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: String::new(),
            label_selector: String::new(),
            indexes: Vec::new(),
        };
        Description { mutating: false, needs: vec![need] }
    }

    fn review(&mut self, request: &Request) -> Response {
        let user = request.user();
        if is_of_the_cluster(&user.name) || user.groups.iter().any(|group| self.0.administrators.contains(group)) {
            return Decision::Allow.into();
        }
        let Some(namespace) = context::get("v1", "Namespace", "", request.namespace()) else { return Decision::Allow.into() };
        let owners = namespace.get("metadata").and_then(|it| it.get("annotations")?.get(&self.0.annotation)?.as_str());
        let Some(owners) = owners else { return Decision::Allow.into() };
        let owns = |owner: &str| owner == user.name || user.groups.iter().any(|group| group == owner);
        let name = namespace.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        match owners.split(',').map(str::trim).any(owns) {
            true => Decision::Allow.into(),
            false => Decision::deny(format!("namespace {name:?} belongs to {owners}")).into(),
        }
    }
}

/// The cluster's own components and controllers work everywhere. Other service accounts, and those who did not say who they
/// are, begin with `system:` too.
fn is_of_the_cluster(user: &str) -> bool {
    let own = ["system:kube-", "system:node:", "system:serviceaccount:kube-system:"];
    user == "system:apiserver" || own.iter().any(|prefix| user.starts_with(prefix))
}

policy!(type Ownership);
