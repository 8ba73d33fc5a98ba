//! `pods/eviction`: a deletion that disruption budgets may put off (`policy/v1`, "API-initiated eviction").

use std::sync::Arc;

use mizzen_api::status::Cause;
use mizzen_api::{LabelSelector, Object, Reason, Status};
use mizzen_client::{ApiRequest, DeleteOptions, WriteOptions};
use mizzen_store::RangeOptions;
use serde_json::{Value, json};

use super::schema::Validation;
use super::target::Target;
use super::write::{decoded, unstored};
use super::{Pipeline, Written, metadata, told};
use crate::admission::{Attributes, Operation, Options, Warnings};
use crate::auth::Identity;
use crate::errors;

/// How often it is tried again after something came between.
const ATTEMPTS: u32 = 20;
/// A budget whose controller lags behind so many evictions allows no more.
const MAX_DISRUPTED: usize = 2000;
const SCHEMA: &str = "io.k8s.api.policy.v1.Eviction";
const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// What the budgets say to an eviction.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// No budget counts the pod.
    Free,
    /// It goes only as the pod that was looked at.
    FreeAsIs,
    /// One less may go: this is what to store of the budget.
    Charged(Value),
}

impl Pipeline {
    pub(super) async fn evict(&self, user: &Arc<Identity>, target: &Target, request: ApiRequest) -> Result<Written, Status> {
        let parsed = super::body::read(request.body).await?;
        let mut eviction = parsed.value;
        metadata::of(&mut eviction)?;
        if metadata::text(&eviction, "name") != target.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let validation = Validation::of(&request.write.field_validation);
        let warnings = self.check_body(target, SCHEMA, &mut eviction, parsed.duplicates, validation, || None)?;
        told(self.evict_checked(user, target, eviction, &request.write).await, warnings)
    }

    async fn evict_checked(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        mut eviction: Value,
        write: &WriteOptions,
    ) -> Result<Written, Status> {
        let asked = eviction.get("deleteOptions").cloned().unwrap_or_default();
        let mut options = DeleteOptions { dry_run: write.dry_run, ..DeleteOptions::default() };
        super::delete_options::take_body(&asked, &mut options)?;
        let admission_warnings = Warnings::default();
        let attributes = Attributes {
            dry_run: options.dry_run,
            options: Options::Write(write),
            ..self.attributes(user, Operation::Create, target, &admission_warnings)
        };
        let admitted = async {
            self.admission.mutate(&attributes, &mut eviction).await?;
            self.admission.validate(&attributes, Some(&eviction)).await
        };
        if let Err(status) = admitted.await {
            return Err(status.warned(admission_warnings.take()));
        }
        let pod = Target { subresource: String::new(), ..target.clone() };
        let mut charged_for = None;
        for _ in 0..ATTEMPTS {
            if self.evicted(user, &pod, &options, &mut charged_for).await? {
                let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
                let warnings = admission_warnings.take();
                return Ok(Written { code: 201, object: Arc::new(unstored(&success)?), warnings, deleted: false });
            }
        }
        let mut status = Status::new(Reason::Timeout, "couldn't update PodDisruptionBudget due to conflicts");
        status.details.retry_after_seconds = Some(10);
        Err(status)
    }

    /// `false` when pod or budget changed meanwhile: then what is there now decides. `charged_for` is the uid of the pod that
    /// a budget has been charged for, which is done once.
    async fn evicted(
        &self,
        user: &Arc<Identity>,
        target: &Target,
        options: &DeleteOptions,
        charged_for: &mut Option<String>,
    ) -> Result<bool, Status> {
        let current = self.current(target)?;
        let failed = |why: String| Status::conflict(&target.group_resource(), &target.name, &why);
        super::delete::check_preconditions(&current, options).map_err(failed)?;
        let pod = decoded(&current)?;
        let as_is = match ignores_budgets(&pod) {
            Some(as_is) => as_is,
            None if charged_for.as_deref() == Some(metadata::text(&pod, "uid")) => false,
            None => {
                let budget = self.budget_of(target, &pod)?;
                let charge = budget.as_ref().map(|(_, stored)| decoded(stored)).transpose()?;
                match charge.as_ref().map_or(Ok(Verdict::Free), |budget| verdict(budget, &pod, (self.clock)()))? {
                    Verdict::Free => false,
                    Verdict::FreeAsIs => true,
                    Verdict::Charged(_) if options.dry_run => false,
                    Verdict::Charged(charged) => {
                        let Some((key, stored)) = budget else { return Ok(false) };
                        if self.put(&key, stored.revision(), charged).await?.is_none() {
                            return Ok(false);
                        }
                        *charged_for = Some(metadata::text(&pod, "uid").to_owned());
                        false
                    }
                }
            }
        };
        let mut options = options.clone();
        let pinned = options.resource_version.is_some();
        let revision = if options.dry_run { Some(current) } else { self.mark_disrupted(target, current, pod).await? };
        let Some(current) = revision else { return Ok(false) };
        if as_is || pinned {
            options.resource_version = Some(current.head().resource_version.clone());
        }
        match self.delete(user, target, &options).await {
            Err(status) if status.is(Reason::Conflict) && !pinned => Ok(false),
            done => done.map(|_| true),
        }
    }

    /// The one budget that counts the pod, with its key.
    ///
    /// # Errors
    /// 500 when there are several, which eviction does not support.
    fn budget_of(&self, target: &Target, pod: &Value) -> Result<Option<(String, Arc<Object>)>, Status> {
        let Some(descriptor) = self.registry.by_group_resource("policy", "poddisruptionbudgets") else { return Ok(None) };
        let prefix = format!("{}{}/", descriptor.prefix(), target.namespace);
        let stored = self.store.range(&prefix, &RangeOptions::default()).map_err(errors::store)?;
        let labels = pod.pointer("/metadata/labels");
        let mut found = None;
        for (key, object) in stored.items {
            let budget = decoded(&object)?;
            let Some(selector) = budget.pointer("/spec/selector").filter(|selector| !selector.is_null()) else { continue };
            // One that does not parse selects nothing.
            if !LabelSelector::from_document(Some(selector)).is_ok_and(|selector| selector.matches_value(labels)) {
                continue;
            }
            if found.replace((key.to_string(), object)).is_some() {
                let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Status::new(Reason::InternalError, why));
            }
        }
        Ok(found)
    }

    /// Tells on the pod why it goes. `None` when it changed meanwhile.
    async fn mark_disrupted(&self, target: &Target, current: Arc<Object>, mut pod: Value) -> Result<Option<Arc<Object>>, Status> {
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": metadata::seconds((self.clock)())});
        let Some(status) = pod.as_object_mut().map(|pod| pod.entry("status").or_insert_with(|| json!({}))) else {
            return Ok(Some(current));
        };
        let Some(conditions) =
            status.as_object_mut().and_then(|status| status.entry("conditions").or_insert_with(|| json!([])).as_array_mut())
        else {
            return Ok(Some(current));
        };
        let is_marked = |condition: &Value| condition["type"] == "DisruptionTarget" && condition["status"] == "True";
        if conditions.iter().any(is_marked) {
            return Ok(Some(current));
        }
        conditions.retain(|condition| condition["type"] != "DisruptionTarget");
        conditions.push(condition);
        self.put(&target.key(), current.revision(), pod).await
    }
}

/// Whether the pod goes whatever budgets say, and then whether only as it is now: a pod that starts meanwhile would count.
fn ignores_budgets(pod: &Value) -> Option<bool> {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending");
    if matches!(phase, "Succeeded" | "Failed") || !metadata::text(pod, "deletionTimestamp").is_empty() {
        return Some(false);
    }
    (phase == "Pending").then_some(true)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// What a budget says to the eviction of a running pod.
///
/// # Errors
/// 429 when it allows none now.
fn verdict(budget: &Value, pod: &Value, now: jiff::Timestamp) -> Result<Verdict, Status> {
    let status = |field: &str| budget.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0);
    let name = metadata::text(budget, "name");
    let (healthy, desired) = (status("currentHealthy"), status("desiredHealthy"));
    if !is_ready(pod) {
        // What is not healthy is not counted, so that nothing is lost with it.
        let always = budget.pointer("/spec/unhealthyPodEvictionPolicy").and_then(Value::as_str) == Some("AlwaysAllow");
        if always || (healthy >= desired && desired > 0) {
            return Ok(Verdict::FreeAsIs);
        }
    }
    let too_many = |message: String| {
        let mut status = Status::new(Reason::TooManyRequests, VIOLATES);
        status.details.causes = vec![Cause { reason: "DisruptionBudget".to_owned(), message, field: String::new() }];
        status
    };
    let generation = budget.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    if status("observedGeneration") < generation {
        let mut status = too_many(format!("The disruption budget {name} is still being processed by the server."));
        status.details.retry_after_seconds = Some(10);
        return Err(status);
    }
    let forbidden =
        |why: &str| Err(errors::forbidden_because(&mizzen_api::GroupResource::new("policy", "poddisruptionbudgets"), name, why));
    let allowed = status("disruptionsAllowed");
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    match allowed {
        ..0 => return forbidden("pdb disruptions allowed is negative"),
        _ if disrupted > MAX_DISRUPTED => {
            return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
        }
        0 => {
            let why = format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
            return Err(too_many(why));
        }
        _ => {}
    }
    let mut charged = budget.clone();
    charged["status"]["disruptionsAllowed"] = json!(allowed - 1);
    charged["status"]["disruptedPods"][metadata::text(pod, "name")] = json!(metadata::seconds(now));
    if allowed == 1
        && let Some(conditions) = charged.pointer_mut("/status/conditions").and_then(Value::as_array_mut)
    {
        for condition in conditions.iter_mut().filter(|condition| condition["type"] == "DisruptionAllowed") {
            condition["status"] = json!("False");
            condition["reason"] = json!("InsufficientPods");
            condition["lastTransitionTime"] = json!(metadata::seconds(now));
        }
    }
    Ok(Verdict::Charged(charged))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "spec": {"selector": {}}, "status": status})
    }

    fn pod(ready: &str) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
    }

    #[test]
    fn a_budget_allows_so_many_and_then_no_more() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let one = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 3, "desiredHealthy": 2,
            "conditions": [{"type": "DisruptionAllowed", "status": "True"}]});
        let Ok(Verdict::Charged(charged)) = verdict(&budget(one), &pod("True"), now) else { panic!("it is charged") };
        assert_eq!(
            (&charged["status"]["disruptionsAllowed"], charged["status"]["disruptedPods"]["p"].is_string()),
            (&json!(0), true)
        );
        assert_eq!(charged["status"]["conditions"][0]["status"], "False");
        let refused = verdict(&charged, &pod("True"), now).expect_err("none is left");
        assert_eq!((refused.code, refused.message.as_str()), (429, VIOLATES));
        assert_eq!(refused.details.causes[0].message, "The disruption budget b needs 2 healthy pods and has 3 currently");
    }

    #[test]
    fn what_is_not_healthy_goes_while_enough_others_are() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let enough = json!({"observedGeneration": 1, "currentHealthy": 2, "desiredHealthy": 2});
        assert_eq!(verdict(&budget(enough), &pod("False"), now), Ok(Verdict::FreeAsIs));
        let few = json!({"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 2});
        assert_eq!(verdict(&budget(few.clone()), &pod("False"), now).expect_err("has too few").code, 429);
        let mut always = budget(few);
        always["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert_eq!(verdict(&always, &pod("False"), now), Ok(Verdict::FreeAsIs));
        let unseen = verdict(&budget(json!({"disruptionsAllowed": 5})), &pod("True"), now).expect_err("is not counted yet");
        assert_eq!(unseen.details.retry_after_seconds, Some(10));
    }
}
