//! The kinds of `mizzen.dev`: scheduler plugins and admission policies, which are Wasm components, and reviews of decisions.
//!
//! They are said as definitions of custom kinds are, and served by what serves those, but stand in the registry with the
//! built-in kinds: nobody can delete their definition.

mod definitions;
mod review;
mod scheduling_review;
mod schema;
mod strategy;
mod vitals;

use std::sync::{Arc, LazyLock};

use mizzen_api::{ResourceDescriptor, Verb};

pub use review::{Answer, Decision, Denial, Forms, Named, Operation, Policies, Policy, Review, User};
pub use vitals::{BOUNDS, Breaker, OwnMetric, SchedulerPlugin, SchedulerPlugins, Shadow, Timer, Times, Vitals};

use crate::custom::{Served, Source, served};
use strategy::Plugin;

pub const GROUP: &str = "mizzen.dev";
pub const VERSION: &str = "v1alpha1";
pub const SCHEDULER_PLUGINS: &str = "schedulerplugins";
pub const SCHEDULING_REVIEWS: &str = "schedulingreviews";
pub const ADMISSION_POLICIES: &str = "admissionpolicies";
pub const CLUSTER_ADMISSION_POLICIES: &str = "clusteradmissionpolicies";

/// What is served of the group in every cluster.
pub fn kinds() -> &'static Served {
    static KINDS: LazyLock<Served> = LazyLock::new(|| {
        let mut all = Served::default();
        let reviews = [scheduling_review::definition()];
        for definition in definitions::all().into_iter().chain(reviews) {
            let Served { descriptors, schemas, published } = served(&definition, &Source::of(&definition));
            all.descriptors.extend(descriptors.iter().map(|descriptor| Arc::new(built_in(descriptor))));
            all.schemas.extend(schemas);
            all.published.extend(published);
        }
        all
    });
    &KINDS
}

fn built_in(descriptor: &ResourceDescriptor) -> ResourceDescriptor {
    if &*descriptor.resource == SCHEDULING_REVIEWS {
        return ResourceDescriptor { custom: None, virtual_only: true, verbs: &[Verb::Create], ..descriptor.clone() };
    }
    let strategy = Arc::new(Plugin { of_schema: descriptor.strategy.clone() });
    ResourceDescriptor { custom: None, strategy, ..descriptor.clone() }
}

#[cfg(test)]
mod tests {
    use mizzen_api::descriptor::Context;
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(resource: &str) -> &'static ResourceDescriptor {
        let mut all = kinds().descriptors.iter();
        all.find(|descriptor| &*descriptor.resource == resource).expect("is served")
    }

    fn policy(spec: &Value) -> Value {
        let mut all = json!({
            "image": "registry.example.com/policies/labels:v1",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                                                    "resources": ["deployments"]}]},
        });
        lay_over(&mut all, spec);
        json!({"metadata": {"name": "labels", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": all})
    }

    fn lay_over(into: &mut Value, more: &Value) {
        if let (Some(into), Some(more)) = (into.as_object_mut(), more.as_object()) {
            into.extend(more.clone());
        }
    }

    #[test]
    fn every_kind_is_served_as_a_built_in_one_with_a_status() {
        for resource in [SCHEDULER_PLUGINS, ADMISSION_POLICIES, CLUSTER_ADMISSION_POLICIES] {
            let descriptor = descriptor(resource);
            assert!(descriptor.custom.is_none() && descriptor.subresource("status").is_some(), "{resource}");
            assert_eq!((&*descriptor.group, &**descriptor.storage_version()), (GROUP, VERSION));
            assert!(kinds().schemas.iter().any(|(name, _)| *name == descriptor.schema));
        }
    }

    #[test]
    fn a_review_is_asked_for_and_never_stored() {
        let descriptor = descriptor(SCHEDULING_REVIEWS);
        assert!(descriptor.virtual_only && descriptor.subresources.is_empty());
        assert_eq!(descriptor.verbs, [Verb::Create]);
        let wrong = json!({"metadata": {"name": "a"}, "spec": {"podName": ""}});
        assert_eq!(descriptor.strategy.validate(&wrong).len(), 1);
    }

    #[test]
    fn a_policy_gets_its_defaults() {
        let mut object = policy(&json!({}));
        let strategy = &descriptor(CLUSTER_ADMISSION_POLICIES).strategy;
        strategy.default(&mut object);
        assert_eq!(strategy.validate(&object), []);
        let spec = &object["spec"];
        let said = [
            "mode",
            "failurePolicy",
            "mutating",
            "reinvocationPolicy",
            "refreshSeconds",
            "matchPluginObjects",
            "backgroundAudit",
        ]
        .map(|field| spec[field].clone());
        let wanted = [json!("enforce"), json!("Fail"), json!(false), json!("Never"), json!(300), json!(false), json!(true)];
        assert_eq!(said, wanted);
        assert_eq!(spec["limits"], json!({"memory": "128Mi", "deadlineMilliseconds": 1000}));
        assert_eq!(spec["matchConstraints"]["matchPolicy"], "Equivalent");
        assert_eq!(spec["matchConstraints"]["resourceRules"][0]["scope"], "*");
    }

    #[test]
    fn wrong_fields_of_a_policy_are_named() {
        let strategy = &descriptor(CLUSTER_ADMISSION_POLICIES).strategy;
        let rule = json!({"apiGroups": ["*", "apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["/status"]});
        for (spec, fields) in [
            (json!({"image": ""}), &["spec.image"][..]),
            (json!({"image": "a@sha256:12"}), &["spec.image"][..]),
            (json!({"mode": "maybe"}), &["spec.mode"][..]),
            (json!({"failurePolicy": "fail"}), &["spec.failurePolicy"][..]),
            (json!({"capabilities": ["Everything"]}), &["spec.capabilities[0]"][..]),
            (
                json!({"capabilities": ["context", "kubernetes/can_i", "net/v1/*", "oci/", "*"]}),
                &["spec.capabilities[3]", "spec.capabilities[4]"][..],
            ),
            (json!({"limits": {"memory": "many"}}), &["spec.limits.memory"][..]),
            (json!({"limits": {"memory": "1Ki"}}), &["spec.limits.memory"][..]),
            (json!({"limits": {"deadlineMilliseconds": 0}}), &["spec.limits.deadlineMilliseconds"][..]),
            (json!({"matchConstraints": {"resourceRules": []}}), &["spec.matchConstraints.resourceRules"][..]),
            (
                json!({"matchConstraints": {"resourceRules": [rule], "namespaceSelector": {"matchLabels": {"a": "-"}}}}),
                &[
                    "spec.matchConstraints.namespaceSelector.matchLabels",
                    "spec.matchConstraints.resourceRules[0].apiGroups",
                    "spec.matchConstraints.resourceRules[0].resources[0]",
                ][..],
            ),
            (
                json!({"matchConditions": [{"name": "a", "expression": "object.a =="}]}),
                &["spec.matchConditions[0].expression"][..],
            ),
            (json!({"matchConditions": [{"name": "", "expression": "true"}]}), &["spec.matchConditions[0].name"][..]),
        ] {
            let mut object = policy(&spec);
            strategy.default(&mut object);
            let causes = strategy.validate(&object);
            assert_eq!(causes.iter().map(|cause| cause.field.as_str()).collect::<Vec<_>>(), fields, "{spec} {causes:?}");
        }
    }

    #[test]
    fn a_scheduler_plugin_says_where_it_takes_part_and_how_much_it_counts() {
        let strategy = &descriptor(SCHEDULER_PLUGINS).strategy;
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"image": "a.example.com/b:v1",
            "extensionPoints": [{"name": "filter"}, {"name": "score", "weight": 5}]}});
        strategy.default(&mut object);
        assert_eq!(strategy.validate(&object), []);
        let spec = &object["spec"];
        assert_eq!(spec["extensionPoints"], json!([{"name": "filter", "weight": 1}, {"name": "score", "weight": 5}]));
        assert_eq!((&spec["failurePolicy"], &spec["schedulerNames"]), (&json!("Ignore"), &json!(["default-scheduler"])));
        object["spec"]["extensionPoints"] = json!([{"name": "sort", "weight": 0}]);
        let fields: Vec<String> = strategy.validate(&object).into_iter().map(|cause| cause.field).collect();
        assert_eq!(fields, ["spec.extensionPoints[0].name", "spec.extensionPoints[0].weight"]);
    }

    #[test]
    fn a_list_shows_what_is_loaded() {
        let descriptor = descriptor(CLUSTER_ADMISSION_POLICIES);
        let mut object = policy(&json!({"mode": "warn"}));
        object["status"] = json!({"digest": "sha256:12", "conditions": [{"type": "Loaded", "status": "True"}]});
        let names: Vec<&str> = descriptor.strategy.columns().iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["Image", "Mode", "Loaded", "Digest", "Age"]);
        let cells = descriptor.strategy.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..4], ["registry.example.com/policies/labels:v1", "warn", "True", "sha256:12"]);
    }

    #[test]
    fn settings_may_be_anything_and_are_kept() {
        let strategy = &descriptor(CLUSTER_ADMISSION_POLICIES).strategy;
        let mut object = policy(&json!({"settings": {"labels": ["a"], "deep": {"er": 1}}}));
        strategy.default(&mut object);
        assert_eq!(object["spec"]["settings"], json!({"labels": ["a"], "deep": {"er": 1}}));
    }
}
