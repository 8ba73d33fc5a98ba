//! `StatefulSet`.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::builder::{Describe, resource};
use super::persistent_volume_claim::default_claim;
use super::pod_template::{Workload, check_template, default_template};
use super::value::{absent, child, fill, int, list, list_mut, set, text};
use super::workload::{CONTAINERS, IMAGES, check_amount, container_cells, is_zero};
use crate::Pointed as _;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid, invalid_text, non_negative, one_of, required};

struct StatefulSet;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource("apps", "StatefulSet", "statefulsets", Scope::Namespaced, StatefulSet).short("sts").in_all().scale().status()
}

const COLUMNS: &[Column] =
    &[Column::text("Ready", "How many pods are ready, of how many there should be."), Column::AGE, CONTAINERS, IMAGES];

/// What of the spec may change.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        fill(spec, "podManagementPolicy", "OrderedReady");
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = child(spec, "updateStrategy") {
            fill(strategy, "type", "RollingUpdate");
            if text(strategy, "/type") == "RollingUpdate"
                && let Some(rolling) = child(strategy, "rollingUpdate")
            {
                fill(rolling, "partition", 0);
            }
        }
        if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
            fill(policy, "whenDeleted", "Retain");
            fill(policy, "whenScaled", "Retain");
        }
        for claim in list_mut(spec, "/volumeClaimTemplates").filter(|claim| claim.is_object()) {
            fill(claim, "apiVersion", "v1");
            fill(claim, "kind", "PersistentVolumeClaim");
            default_claim(claim);
        }
        if let Some(template) = child(spec, "template") {
            default_template(template);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"replicas": 0, "availableReplicas": 0}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = Path::root("spec");
        match text(object, "/spec/podManagementPolicy") {
            "" => causes.push(required(spec.field("podManagementPolicy"), "")),
            "OrderedReady" | "Parallel" => {}
            other => {
                causes.push(invalid_text(spec.field("podManagementPolicy"), other, "must be 'OrderedReady' or 'Parallel'"));
            }
        }
        check_strategy(object.at("/spec/updateStrategy").unwrap_or(&Value::Null), &spec.field("updateStrategy"), &mut causes);
        let retention = spec.field("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            let policy = text(object, &format!("/spec/persistentVolumeClaimRetentionPolicy/{field}"));
            causes.extend(one_of(retention.field(field), policy, &["Delete", "Retain"]));
        }
        for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
            causes.extend(non_negative(spec.field(field), object.at(&format!("/spec/{field}"))));
        }
        let ordinals = spec.field("ordinals");
        causes.extend(non_negative(ordinals.field("start"), object.at("/spec/ordinals/start")));
        causes.extend(check_template(&with_claims(object), Workload::StatefulSet));
        causes
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let fixed = |object: &Value| {
            let mut spec = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
            spec.retain(|field, _| !MUTABLE.contains(&field.as_str()));
            spec
        };
        if fixed(object) == fixed(old) {
            return Vec::new();
        }
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
                   'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        vec![forbidden("spec", why)]
    }

    fn validate_subresource_update(&self, _subresource: &str, object: &Value, _old: &Value) -> Vec<Cause> {
        let status = Path::root("status");
        let number = |field: &str| int(object, &format!("/status/{field}")).unwrap_or(0);
        let mut causes = Vec::new();
        for field in
            ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration"]
        {
            causes.extend(non_negative(status.field(field), object.at(&format!("/status/{field}"))));
        }
        for (field, bound) in [
            ("readyReplicas", "replicas"),
            ("currentReplicas", "replicas"),
            ("updatedReplicas", "replicas"),
            ("availableReplicas", "readyReplicas"),
        ] {
            if number(field) > number(bound) {
                let why = format!("cannot be greater than status.{bound}");
                causes.push(invalid(status.field(field), &number(field).into(), why));
            }
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let number = |pointer| int(object, pointer).unwrap_or(0);
        let ready = format!("{}/{}", number("/status/readyReplicas"), number("/spec/replicas"));
        let [containers, images] = container_cells(object, "/spec/template/spec/containers");
        vec![ready.into(), age(object, context.now).into(), containers, images]
    }
}

/// The set with the volumes that its pods will have: each claim is one, and takes the place of a volume of its name.
fn with_claims(object: &Value) -> Cow<'_, Value> {
    let claims: Vec<&str> =
        list(object, "/spec/volumeClaimTemplates").iter().map(|claim| text(claim, "/metadata/name")).collect();
    let mut set = Cow::Borrowed(object);
    if claims.is_empty() {
        return set;
    }
    if let Some(spec) = set.to_mut().pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.retain(|volume| !claims.contains(&text(volume, "/name")));
            let of_claim = |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
            volumes.extend(claims.iter().filter(|claim| !claim.is_empty()).map(of_claim));
        }
    }
    set
}

fn check_strategy(strategy: &Value, path: &Path, causes: &mut Vec<Cause>) {
    let at = path.field("rollingUpdate");
    match text(strategy, "/type") {
        "" => causes.push(required(path, "")),
        "OnDelete" => {
            if let Some(rolling) = strategy.get("rollingUpdate").filter(|rolling| !rolling.is_null()) {
                causes.push(invalid(at, rolling, "only allowed for updateStrategy 'RollingUpdate'"));
            }
        }
        "RollingUpdate" => {
            let rolling = strategy.get("rollingUpdate").unwrap_or(&Value::Null);
            causes.extend(non_negative(at.field("partition"), rolling.get("partition")));
            if let Some(amount) = rolling.get("maxUnavailable").filter(|_| !absent(rolling, "/maxUnavailable")) {
                let at = at.field("maxUnavailable");
                check_amount(amount, &at, true, causes);
                if is_zero(Some(amount)) {
                    causes.push(invalid(at, amount, "cannot be 0"));
                }
            }
        }
        other => causes.push(invalid_text(path, other, "must be 'RollingUpdate' or 'OnDelete'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stateful_set() -> Value {
        let mut object = json!({"spec": {"serviceName": "s", "selector": {"matchLabels": {"app": "a"}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        StatefulSet.default(&mut object);
        object
    }

    #[test]
    fn a_stateful_set_is_ordered_and_keeps_its_claims_unless_told_otherwise() {
        let object = stateful_set();
        let spec = &object["spec"];
        assert_eq!((&spec["podManagementPolicy"], &spec["replicas"]), (&json!("OrderedReady"), &json!(1)));
        assert_eq!(spec["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}));
        assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
        let claim = &spec["volumeClaimTemplates"][0];
        assert_eq!((&claim["kind"], &claim["status"]["phase"]), (&json!("PersistentVolumeClaim"), &json!("Pending")));
        assert_eq!(StatefulSet.validate(&object), []);
    }

    #[test]
    fn containers_mount_the_claims_of_the_set() {
        let mut object = stateful_set();
        let mount = |name: &str| json!([{"name": name, "mountPath": "/data"}]);
        object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mount("data");
        assert_eq!(StatefulSet.validate(&object), []);
        // A claim takes the place of the volume of its name.
        object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
        assert_eq!(StatefulSet.validate(&object), []);
        object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = mount("other");
        let at = "spec.template.spec.containers[0].volumeMounts[0].name";
        assert_eq!(StatefulSet.validate(&object)[0].field, at);
    }

    #[test]
    fn only_some_fields_may_change() {
        let old = stateful_set();
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(3);
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
        assert_eq!(StatefulSet.validate_update(&new, &old), []);
        new["spec"]["serviceName"] = json!("t");
        assert_eq!(StatefulSet.validate_update(&new, &old)[0].field, "spec");
        new["status"] = json!({"replicas": 1, "readyReplicas": 2});
        assert_eq!(StatefulSet.validate_subresource_update("status", &new, &old)[0].field, "status.readyReplicas");
    }
}
