//! `MutatingWebhookConfiguration` and `ValidatingWebhookConfiguration`.

use std::collections::HashSet;

use serde_json::Value;

use super::super::value::{absent, fill, int, list, list_mut, text};
use super::extension;
use super::rules::{check_match, check_match_conditions, default_match};
use crate::descriptor::{Column, Context, ResourceDescriptor, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1035_label, dns1123_subdomain, duplicate, invalid, invalid_text, one_of, port_number, required,
    required_one_of,
};

struct Configuration {
    mutating: bool,
}

pub(super) fn mutating() -> ResourceDescriptor {
    extension("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", Configuration { mutating: true })
}

pub(super) fn validating() -> ResourceDescriptor {
    extension("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", Configuration { mutating: false })
}

const COLUMNS: &[Column] = &[Column::number("Webhooks", "How many webhooks there are."), Column::AGE];
/// Versions of the review that the server can send.
const REVIEWS: &[&str] = &["v1", "v1beta1"];

impl Strategy for Configuration {
    fn updates_unconditionally(&self) -> bool {
        false
    }

    fn default(&self, object: &mut Value) {
        for hook in list_mut(object, "/webhooks") {
            fill(hook, "failurePolicy", "Fail");
            fill(hook, "timeoutSeconds", 10);
            if self.mutating {
                fill(hook, "reinvocationPolicy", "Never");
            }
            default_match(hook, &["/rules"]);
            if let Some(service) = hook.pointer_mut("/clientConfig/service").filter(|service| service.is_object()) {
                fill(service, "port", 443);
            }
        }
    }

    fn has_generation(&self, _object: &Value) -> bool {
        true
    }

    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        object.get("webhooks") != old.get("webhooks")
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (mut names, path) = (HashSet::new(), Path::root("webhooks"));
        for (index, hook) in list(object, "/webhooks").iter().enumerate() {
            let (at, name) = (path.index(index), text(hook, "/name"));
            check_name(name, &at.field("name"), &mut causes);
            if !names.insert(name) {
                causes.push(duplicate(at.field("name"), &name.into()));
            }
            check_hook(hook, &at, &mut causes);
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![list(object, "/webhooks").len().into(), age(object, context.now).into()]
    }
}

fn check_name(name: &str, at: &Path, causes: &mut Vec<Cause>) {
    if name.is_empty() {
        causes.push(required(at, ""));
        return;
    }
    causes.extend(complaints(at, name, dns1123_subdomain(name)));
    if name.split('.').count() < 3 {
        causes.push(invalid_text(at, name, "should be a domain with at least three segments separated by dots"));
    }
}

fn check_hook(hook: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let versions: Vec<&str> = list(hook, "/admissionReviewVersions").iter().filter_map(Value::as_str).collect();
    let path = at.field("admissionReviewVersions");
    if versions.is_empty() {
        causes.push(required(path, "must specify one of v1, v1beta1"));
    } else if !versions.iter().any(|version| REVIEWS.contains(version)) {
        causes.push(invalid(path, &versions.clone().into(), "must include at least one of v1, v1beta1"));
    }
    for (index, version) in versions.iter().enumerate() {
        causes.extend(complaints(path.index(index), version, dns1035_label(version)));
        if versions[..index].contains(version) {
            causes.push(invalid(path.index(index), &(*version).into(), "duplicate version"));
        }
    }
    check_match(hook, &["rules"], at, causes);
    causes.extend(one_of(at.field("failurePolicy"), text(hook, "/failurePolicy"), &["Fail", "Ignore"]));
    causes.extend(required_one_of(at.field("sideEffects"), text(hook, "/sideEffects"), &["None", "NoneOnDryRun"]));
    causes.extend(one_of(at.field("reinvocationPolicy"), text(hook, "/reinvocationPolicy"), &["IfNeeded", "Never"]));
    if let Some(seconds) = int(hook, "/timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        causes.push(invalid(at.field("timeoutSeconds"), &seconds.into(), why));
    }
    check_match_conditions(hook, at, causes);
    let client = at.field("clientConfig");
    match (absent(hook, "/clientConfig/url"), absent(hook, "/clientConfig/service")) {
        (true, true) | (false, false) => causes.push(required(client, "exactly one of url or service is required")),
        (false, true) => check_url(text(hook, "/clientConfig/url"), &client.field("url"), causes),
        (true, false) => {
            let at = client.field("service");
            for field in ["name", "namespace"] {
                if text(hook, &format!("/clientConfig/service/{field}")).is_empty() {
                    let why = format!("service {field} is required");
                    causes.push(required(at.field(field), &why));
                }
            }
            let port = int(hook, "/clientConfig/service/port").unwrap_or(0);
            causes.extend(
                port_number(port)
                    .into_iter()
                    .map(|why| invalid(at.field("port"), &port.into(), format!("port is not valid: {why}"))),
            );
            let path = text(hook, "/clientConfig/service/path");
            if !path.is_empty() && !path.starts_with('/') {
                causes.push(invalid_text(at.field("path"), path, "must start with a '/'"));
            }
        }
    }
}

fn check_url(url: &str, at: &Path, causes: &mut Vec<Cause>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let Some(rest) = url.strip_prefix("https://") else {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        causes.push(invalid_text(at, scheme, format!("'https' is the only allowed URL scheme{FORM}")));
        return;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    if host.is_empty() {
        causes.push(invalid_text(at, host, format!("host must be specified{FORM}")));
    }
    for (part, sign) in [("user information", '@'), ("fragments", '#'), ("query parameters", '?')] {
        if rest.contains(sign) {
            causes.push(invalid_text(at, url, format!("{part} are not permitted in the URL")));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configuration(hook: Value) -> Value {
        let mut all = json!({"name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "s", "namespace": "n"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
        if let (Some(into), Value::Object(hook)) = (all.as_object_mut(), hook) {
            into.extend(hook);
        }
        let mut object = json!({"webhooks": [all]});
        Configuration { mutating: true }.default(&mut object);
        object
    }

    #[test]
    fn a_webhook_fails_closed_after_ten_seconds() {
        let object = configuration(json!({}));
        let hook = &object["webhooks"][0];
        assert_eq!((&hook["failurePolicy"], &hook["timeoutSeconds"]), (&json!("Fail"), &json!(10)));
        assert_eq!((&hook["rules"][0]["scope"], &hook["clientConfig"]["service"]["port"]), (&json!("*"), &json!(443)));
        assert_eq!(Configuration { mutating: true }.validate(&object), []);
    }

    #[test]
    fn wrong_webhooks_are_named() {
        for (hook, field) in [
            (json!({"name": "a.b"}), "webhooks[0].name"),
            (json!({"sideEffects": "Some"}), "webhooks[0].sideEffects"),
            (json!({"timeoutSeconds": 31}), "webhooks[0].timeoutSeconds"),
            (json!({"admissionReviewVersions": ["v2"]}), "webhooks[0].admissionReviewVersions"),
            (json!({"clientConfig": {"url": "http://a"}}), "webhooks[0].clientConfig.url"),
            (json!({"clientConfig": {}}), "webhooks[0].clientConfig"),
            (
                json!({"rules": [{"operations": ["READ"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}),
                "webhooks[0].rules[0].operations[0]",
            ),
        ] {
            let causes = Configuration { mutating: false }.validate(&configuration(hook));
            assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }
}
