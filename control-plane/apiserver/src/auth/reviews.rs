//! The questions about access: SubjectAccessReview and its family, SelfSubjectReview, TokenReview.

use std::sync::Arc;

use mizzen_api::status::{Cause, Reason};
use mizzen_api::{FieldRequirement, FieldSelector, Status};
use serde_json::{Value, json};

use super::authenticator::Authenticator;
use super::rbac::Rbac;
use super::tokens::ISSUER;
use super::{Action, Authorizer, Decision, Identity};

pub struct Reviews {
    /// Decides about requests.
    pub authorizer: Arc<dyn Authorizer>,
    /// Knows which rules apply.
    pub rbac: Arc<Rbac>,
    pub authenticator: Arc<Authenticator>,
}

impl Reviews {
    /// SubjectAccessReview, and LocalSubjectAccessReview when `namespace` is not empty.
    ///
    /// # Errors
    /// `Invalid` when the spec asks about nobody or nothing.
    pub fn subject_access(&self, namespace: &str, mut review: Value) -> Result<Value, Status> {
        let spec = &review["spec"];
        let user = Identity {
            username: text(spec, "user").to_owned(),
            uid: text(spec, "uid").to_owned(),
            groups: strings(&spec["groups"]),
            ..Identity::default()
        };
        if user.username.is_empty() && user.groups.is_empty() {
            return Err(invalid("spec.user", "Invalid value: \"\": at least one of user or group must be specified"));
        }
        if !namespace.is_empty() && text(&spec["resourceAttributes"], "namespace") != namespace {
            return Err(invalid("spec.resourceAttributes.namespace", "must match the namespace of the request"));
        }
        review["status"] = self.decide(&user, spec)?;
        Ok(review)
    }

    /// SelfSubjectAccessReview.
    ///
    /// # Errors
    /// `Invalid` when the spec asks about nothing.
    pub fn self_access(&self, user: &Identity, mut review: Value) -> Result<Value, Status> {
        review["status"] = self.decide(user, &review["spec"])?;
        Ok(review)
    }

    fn decide(&self, user: &Identity, spec: &Value) -> Result<Value, Status> {
        let action = match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
            (Some(asked), None) => Action::Resource {
                verb: text(asked, "verb"),
                group: text(asked, "group"),
                resource: text(asked, "resource"),
                subresource: text(asked, "subresource"),
                namespace: text(asked, "namespace"),
                name: text(asked, "name"),
            },
            (None, Some(asked)) => Action::Path { verb: text(asked, "verb"), path: text(asked, "path") },
            _ => {
                let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                return Err(invalid("spec.resourceAttributes", why));
            }
        };
        let fields = selected(&spec["resourceAttributes"])?;
        let decision = match &fields {
            Some(fields) => self.authorizer.authorize_selected(user, &action, fields),
            None => self.authorizer.authorize(user, &action),
        };
        Ok(match decision {
            Decision::Allow { reason } => json!({"allowed": true, "reason": reason}),
            Decision::NoOpinion { reason } => json!({"allowed": false, "reason": reason}),
        })
    }

    /// SelfSubjectRulesReview.
    ///
    /// # Errors
    /// `BadRequest` when it names no namespace: there are no rules everywhere to tell of.
    pub fn self_rules(&self, user: &Identity, mut review: Value) -> Result<Value, Status> {
        let namespace = text(&review["spec"], "namespace");
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let rules = self.rbac.rules(user, namespace);
        let (paths, resources): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| !rule.non_resource_urls.is_empty());
        let resource_rule = |rule: &&super::rbac::Rule| {
            let mut value = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                value["resourceNames"] = json!(rule.resource_names);
            }
            value
        };
        let mut resources: Vec<Value> = resources.iter().map(resource_rule).collect();
        let mut paths: Vec<Value> =
            paths.iter().map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls})).collect();
        if user.groups.iter().any(|group| group == "system:masters") {
            resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
            paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        }
        review["status"] = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        Ok(review)
    }

    /// SelfSubjectReview (`kubectl auth whoami`).
    pub fn who_am_i(user: &Identity, mut review: Value) -> Value {
        review["status"] = json!({"userInfo": user.user_info()});
        review
    }

    /// TokenReview.
    ///
    /// # Errors
    /// `BadRequest` when there is no token.
    pub fn token(&self, mut review: Value) -> Result<Value, Status> {
        let spec = &review["spec"];
        if text(spec, "token").is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let mut audiences = strings(&spec["audiences"]);
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        let asked: Vec<&str> = audiences.iter().map(String::as_str).collect();
        review["status"] = match self.authenticator.bearer(text(spec, "token"), &asked) {
            Ok((identity, meant)) => json!({"authenticated": true, "user": identity.user_info(), "audiences": meant}),
            Err(why) => json!({"authenticated": false, "user": {}, "error": why}),
        };
        Ok(review)
    }
}

/// By which fields the question is narrowed. Labels decide nothing here: what names them is held to its form only.
fn selected(asked: &Value) -> Result<Option<FieldSelector>, Status> {
    for kind in ["fieldSelector", "labelSelector"] {
        let Some(selector) = asked.get(kind).filter(|selector| !selector.is_null()) else { continue };
        let at = format!("spec.resourceAttributes.{kind}");
        let has_requirements = selector["requirements"].as_array().is_some_and(|all| !all.is_empty());
        match (text(selector, "rawSelector"), has_requirements) {
            ("", false) => {
                let why = format!("Required value: when {at} is specified, requirements or rawSelector is required");
                return Err(invalid(&format!("{at}.requirements"), &why));
            }
            (raw, true) if !raw.is_empty() => {
                let why = format!("Invalid value: {raw:?}: may not specified at the same time as requirements");
                return Err(invalid(&format!("{at}.rawSelector"), &why));
            }
            _ => {}
        }
    }
    let Some(selector) = asked.get("fieldSelector").filter(|selector| !selector.is_null()) else { return Ok(None) };
    let raw = text(selector, "rawSelector");
    if !raw.is_empty() {
        // One that cannot be read narrows nothing, as in Kubernetes.
        return Ok(FieldSelector::parse(raw).ok());
    }
    let requirement = |asked: &Value| {
        let negated = match text(asked, "operator") {
            "In" => false,
            "NotIn" => true,
            _ => return None,
        };
        let [value]: [String; 1] = strings(&asked["values"]).try_into().ok()?;
        Some(FieldRequirement { path: text(asked, "key").to_owned(), negated, value })
    };
    Ok(Some(selector["requirements"].as_array().into_iter().flatten().filter_map(requirement).collect()))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn invalid(field: &str, message: &str) -> Status {
    let mut status = Status::new(Reason::Invalid, format!("{field}: {message}"));
    status.details.causes.push(Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: message.to_owned(),
        field: field.to_owned(),
    });
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_narrowed_by_the_fields_that_it_names() {
        let selector = |value: Value| selected(&json!({"fieldSelector": value})).map(|fields| fields.map(|all| all.to_string()));
        let one = |operator: &str, values: Value| json!({"requirements": [{"key": "spec.nodeName", "operator": operator, "values": values}]});
        let narrowed = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(selector(json!({"rawSelector": "spec.nodeName=n1,a!=b"})), narrowed("spec.nodeName=n1,a!=b"));
        assert_eq!(selector(one("In", json!(["n1"]))), narrowed("spec.nodeName=n1"));
        assert_eq!(selector(one("NotIn", json!(["n1"]))), narrowed("spec.nodeName!=n1"));
        // What says less than one value narrows nothing.
        assert_eq!(selector(one("In", json!(["n1", "n2"]))), narrowed(""));
        assert_eq!(selector(one("Exists", json!([]))), narrowed(""));
        assert_eq!(selector(Value::Null), Ok(None));
        let status = selector(json!({})).expect_err("says nothing");
        assert!(status.message.contains("requirements or rawSelector is required"), "{}", status.message);
        let mut both = one("In", json!(["n1"]));
        both["rawSelector"] = json!("a=b");
        let status = selector(both).expect_err("says it twice");
        assert!(status.message.contains("may not specified at the same time as requirements"), "{}", status.message);
    }
}
