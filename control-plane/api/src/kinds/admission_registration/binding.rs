//! `MutatingAdmissionPolicyBinding` and `ValidatingAdmissionPolicyBinding`: where a policy holds, and with which parameters.

use serde_json::Value;

use super::super::value::{absent, list, text};
use super::extension;
use super::rules::{check_match, default_match};
use crate::descriptor::{Column, Context, ResourceDescriptor, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_subdomain, duplicate, forbidden, invalid, not_supported, required, required_one_of,
    validate_label_selector,
};

struct Binding {
    mutating: bool,
}

pub(super) fn mutating() -> ResourceDescriptor {
    extension("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", Binding { mutating: true })
}

pub(super) fn validating() -> ResourceDescriptor {
    extension("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", Binding { mutating: false })
}

const COLUMNS: &[Column] = &[
    Column::text("PolicyName", "The policy that is bound."),
    Column::text("ParamRef", "The parameters that it gets."),
    Column::AGE,
];
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

impl Strategy for Binding {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        if let Some(matching) = object.pointer_mut("/spec/matchResources").filter(|matching| matching.is_object()) {
            default_match(matching, &["/resourceRules", "/excludeResourceRules"]);
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let (at, spec) = (Path::root("spec"), object.get("spec").unwrap_or(&Value::Null));
        let mut causes = Vec::new();
        match text(spec, "/policyName") {
            "" => causes.push(required(at.field("policyName"), "")),
            name => causes.extend(complaints(at.field("policyName"), name, dns1123_subdomain(name))),
        }
        if let Some(reference) = spec.get("paramRef").filter(|reference| reference.is_object()) {
            check_parameters(reference, &at.field("paramRef"), &mut causes);
        }
        if let Some(matching) = spec.get("matchResources").filter(|matching| matching.is_object()) {
            let rules = ["resourceRules", "excludeResourceRules"];
            check_match(matching, &rules, &at.field("matchResources"), &mut causes);
        }
        if !self.mutating {
            check_actions(list(spec, "/validationActions"), &at.field("validationActions"), &mut causes);
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let reference = match object.pointer("/spec/paramRef") {
            None | Some(Value::Null) => "<unset>".to_owned(),
            Some(reference) => match (text(reference, "/namespace"), text(reference, "/name")) {
                ("", "") => "*".to_owned(),
                ("", name) => name.to_owned(),
                (namespace, "") => format!("{namespace}/*"),
                (namespace, name) => format!("{namespace}/{name}"),
            },
        };
        vec![text(object, "/spec/policyName").into(), reference.into(), age(object, context.now).into()]
    }
}

fn check_parameters(reference: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match (text(reference, "/name").is_empty(), absent(reference, "/selector")) {
        (true, true) => causes.push(required(at, "one of name or selector must be specified")),
        (false, false) => {
            causes.push(forbidden(at.field("name"), "name and selector are mutually exclusive"));
        }
        _ => {}
    }
    causes.extend(validate_label_selector(reference.get("selector"), &at.field("selector")));
    let action = text(reference, "/parameterNotFoundAction");
    causes.extend(required_one_of(at.field("parameterNotFoundAction"), action, &["Allow", "Deny"]));
}

fn check_actions(actions: &[Value], at: &Path, causes: &mut Vec<Cause>) {
    if actions.is_empty() {
        causes.push(required(at, ""));
    }
    for (index, action) in actions.iter().enumerate() {
        let name = action.as_str().unwrap_or("");
        if !ACTIONS.contains(&name) {
            causes.push(not_supported(at, name, ACTIONS));
        }
        if actions[..index].contains(action) {
            causes.push(duplicate(at.index(index), action));
        }
    }
    if ["Deny", "Warn"].iter().all(|action| actions.iter().any(|given| given == action)) {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and \
                   headers serves no purpose)";
        causes.push(invalid(at, &actions.into(), why));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_names_its_policy_and_what_follows() {
        let binding = Binding { mutating: false };
        let right = json!({"spec": {"policyName": "p", "validationActions": ["Deny"], "paramRef": {
            "name": "c", "namespace": "n", "parameterNotFoundAction": "Deny"}}});
        assert_eq!(binding.validate(&right), []);
        assert_eq!(binding.cells(&right, Context { now: jiff::Timestamp::UNIX_EPOCH })[..2], [json!("p"), json!("n/c")]);
        let wrong = json!({"spec": {"validationActions": ["Deny", "Warn"], "paramRef": {}}});
        let fields: Vec<String> = binding.validate(&wrong).into_iter().map(|cause| cause.field).collect();
        assert_eq!(
            fields,
            ["spec.policyName", "spec.paramRef", "spec.paramRef.parameterNotFoundAction", "spec.validationActions"]
        );
    }
}
