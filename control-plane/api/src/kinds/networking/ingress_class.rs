//! `IngressClass`.

use serde_json::Value;

use super::super::builder::resource;
use super::super::value::{absent, fill, text};
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{
    Path, complaints, dns1123_label, dns1123_subdomain, domain_prefixed_path, forbidden, immutable, path_segment, required,
    required_one_of, too_long,
};

struct IngressClass;

const MAX_CONTROLLER: usize = 250;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "IngressClass", "ingressclasses", Scope::Cluster, IngressClass)
}

const COLUMNS: &[Column] = &[
    Column::text("Controller", "Who serves the ingresses of the class."),
    Column::text("Parameters", "The object that configures the class."),
    Column::AGE,
];

impl Strategy for IngressClass {
    fn default(&self, object: &mut Value) {
        if let Some(parameters) = object.pointer_mut("/spec/parameters") {
            fill(parameters, "scope", "Cluster");
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        match text(object, "/spec/controller") {
            "" => causes.push(required("spec.controller", "")),
            name if name.len() > MAX_CONTROLLER => causes.push(too_long("spec.controller", MAX_CONTROLLER)),
            name => causes.extend(complaints("spec.controller", name, domain_prefixed_path(name))),
        }
        if let Some(parameters) = object.pointer("/spec/parameters").filter(|parameters| parameters.is_object()) {
            check_parameters(parameters, &Path::root("spec.parameters"), &mut causes);
        }
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let pointer = "/spec/controller";
        immutable("spec.controller", object.pointer(pointer), old.pointer(pointer)).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let parameters = object.pointer("/spec/parameters").map_or_else(
            || "<none>".to_owned(),
            |parameters| match text(parameters, "/apiGroup") {
                "" => format!("{}/{}", text(parameters, "/kind"), text(parameters, "/name")),
                group => format!("{}.{group}/{}", text(parameters, "/kind"), text(parameters, "/name")),
            },
        );
        vec![text(object, "/spec/controller").into(), parameters.into(), age(object, context.now).into()]
    }
}

fn check_parameters(parameters: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let group = text(parameters, "/apiGroup");
    if !group.is_empty() {
        causes.extend(complaints(at.field("apiGroup"), group, dns1123_subdomain(group)));
    }
    for field in ["kind", "name"] {
        match text(parameters, &format!("/{field}")) {
            "" => causes.push(required(at.field(field), "")),
            name => causes.extend(complaints(at.field(field), name, path_segment(name))),
        }
    }
    let scope = text(parameters, "/scope");
    causes.extend(required_one_of(at.field("scope"), scope, &["Cluster", "Namespace"]));
    let (place, namespace) = (at.field("namespace"), text(parameters, "/namespace"));
    match scope {
        "Namespace" if namespace.is_empty() => {
            causes.push(required(place, "`parameters.scope` is set to 'Namespace'"));
        }
        "Namespace" => causes.extend(complaints(place, namespace, dns1123_label(namespace))),
        "Cluster" if !absent(parameters, "/namespace") => {
            causes.push(forbidden(place, "`parameters.scope` is set to 'Cluster'"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_class_has_one_controller() {
        let right = json!({"spec": {"controller": "example.com/ingress", "parameters": {"kind": "K", "name": "n", "scope": "Cluster", "apiGroup": "g"}}});
        assert_eq!(IngressClass.validate(&right), []);
        assert_eq!(IngressClass.cells(&right, Context { now: jiff::Timestamp::UNIX_EPOCH })[1], "K.g/n");
        let wrong = json!({"spec": {"controller": "ingress", "parameters": {"scope": "Namespace"}}});
        let fields: Vec<String> = IngressClass.validate(&wrong).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["spec.controller", "spec.parameters.kind", "spec.parameters.name", "spec.parameters.namespace"]);
        assert_eq!(IngressClass.validate_update(&wrong, &right)[0].field, "spec.controller");
    }
}
