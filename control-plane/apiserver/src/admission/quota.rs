//! ResourceQuota: nothing is stored beyond what the quotas of its namespace leave.
//!
//! What an object takes is charged in the transaction that stores it, on the condition that the quotas are still as they
//! were when they were looked at: two writers never both get the last place, and what is not stored is not charged.

use mizzen_api::object::Encoded;
use mizzen_api::pod_resources::Resources;
use mizzen_api::{GroupResource, Status, quota};
use mizzen_store::{Compare, RangeOptions};
use serde_json::{Value, json};

use super::{Attributes, Operation, decoded};

/// What goes into the transaction with an object.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    pub(crate) compares: Vec<Compare>,
    pub(crate) puts: Vec<(String, Encoded)>,
}

/// Kinds that come and go too fast to be counted.
const UNCOUNTED: &[(&str, &str)] = &[("", "events"), ("events.k8s.io", "events")];

/// What a write takes beyond what its object has already.
pub(crate) struct Demand<'a> {
    attributes: &'a Attributes<'a>,
    kind: GroupResource,
    amounts: Resources,
    object: Value,
}

impl<'a> Demand<'a> {
    /// `None` when the write takes nothing, or nothing is bounded in its namespace.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn of(attributes: &'a Attributes<'a>, object: &Value) -> Result<Option<Self>, Status> {
        if attributes.namespace().is_empty()
            || UNCOUNTED.contains(&(attributes.group(), attributes.resource()))
            || !is_charged(attributes)
            || quotas(attributes, 1)?.is_empty()
        {
            return Ok(None);
        }
        let kind = GroupResource::new(attributes.group(), attributes.resource());
        let before = attributes.old.map(|old| quota::usage(&kind, old)).unwrap_or_default();
        let amounts = quota::usage(&kind, object)
            .into_iter()
            .map(|(name, amount)| {
                let had = before.get(&name).copied().unwrap_or_default();
                (name, amount - had)
            })
            .filter(|(_, amount)| !amount.is_zero() && !amount.is_negative())
            .collect::<Resources>();
        Ok((!amounts.is_empty()).then(|| Self { attributes, kind, amounts, object: object.clone() }))
    }

    /// The charge on the quotas as they are now.
    ///
    /// # Errors
    /// `Forbidden` when it is more than one of them leaves.
    pub(crate) fn charge(&self) -> Result<Charge, Status> {
        let mut charge = Charge::default();
        let mut concerned = Vec::new();
        for (key, stored) in quotas(self.attributes, 0)? {
            let quota = decoded(&stored)?;
            if quota::is_in_scope(&quota, &self.kind, &self.object) {
                // Whether any wants something stated comes before what is left of all of them.
                let states = check_stated(&quota, &self.kind, self.attributes.operation, &self.object);
                states.map_err(|why| self.attributes.forbid(&why))?;
                concerned.push((key, stored, quota));
            }
        }
        for (key, stored, quota) in concerned {
            let charged = charged(&quota, &self.amounts);
            let Some(charged) = charged.map_err(|why| self.attributes.forbid(&why))? else { continue };
            let encoded = Encoded::from_value(charged).ok_or_else(|| Status::internal("a quota without metadata"))?;
            charge.compares.push(Compare { key: key.to_string(), revision: stored.revision() });
            charge.puts.push((key.to_string(), encoded));
        }
        Ok(charge)
    }
}

type Stored = (std::sync::Arc<str>, std::sync::Arc<mizzen_api::Object>);

/// The quotas of the namespace, at most `limit` (0: all).
fn quotas(attributes: &Attributes<'_>, limit: usize) -> Result<Vec<Stored>, Status> {
    let Some(descriptor) = attributes.registry.by_group_resource("", "resourcequotas") else { return Ok(Vec::new()) };
    let prefix = format!("{}{}/", descriptor.prefix(), attributes.namespace());
    let options = RangeOptions { limit, ..RangeOptions::default() };
    Ok(attributes.store.range(&prefix, &options).map_err(crate::errors::store)?.items)
}

/// Creations, and updates of what may grow.
fn is_charged(attributes: &Attributes<'_>) -> bool {
    let grows = attributes.group().is_empty() && matches!(attributes.resource(), "services" | "persistentvolumeclaims");
    match (attributes.operation, attributes.subresource()) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => grows,
        (Operation::Update, "resize") => attributes.writes_pod_of("resize"),
        _ => false,
    }
}

fn name_of(quota: &Value) -> &str {
    quota.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// A new pod says how much it wants of what the quota bounds.
///
/// # Errors
/// What it does not say, in Kubernetes' words.
fn check_stated(quota: &Value, kind: &GroupResource, operation: Operation, object: &Value) -> Result<(), String> {
    if !kind.group.is_empty() || &*kind.resource != "pods" || operation != Operation::Create {
        return Ok(());
    }
    let unstated = quota::unstated(&quota::amounts(quota, "/status/hard"), object);
    unstated.map_or(Ok(()), |unstated| Err(format!("failed quota: {}: {unstated}", name_of(quota))))
}

/// The quota with `amounts` added to what is used of it; `None` when it bounds nothing of them.
///
/// # Errors
/// Why it cannot be, in Kubernetes' words.
fn charged(quota: &Value, amounts: &Resources) -> Result<Option<Value>, String> {
    let name = name_of(quota);
    let (hard, mut used) = (quota::amounts(quota, "/status/hard"), quota::amounts(quota, "/status/used"));
    let asked: Resources =
        amounts.iter().filter(|(name, _)| hard.contains_key(*name)).map(|(name, amount)| (name.clone(), *amount)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let unknown: Vec<&str> = asked.keys().filter(|name| !used.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(format!("status unknown for quota: {name}, resources: {}", unknown.join(",")));
    }
    let over: Vec<&String> =
        asked.iter().filter(|(name, amount)| used[*name] + **amount > hard[*name]).map(|(name, _)| name).collect();
    if !over.is_empty() {
        let words = |amounts: &Resources| {
            let pairs = over.iter().filter_map(|name| Some(format!("{name}={}", amounts.get(*name)?)));
            pairs.collect::<Vec<_>>().join(",")
        };
        let (requested, used, limited) = (words(&asked), words(&used), words(&hard));
        return Err(format!("exceeded quota: {name}, requested: {requested}, used: {used}, limited: {limited}"));
    }
    for (name, amount) in asked {
        *used.entry(name).or_default() += amount;
    }
    let mut quota = quota.clone();
    let shown: serde_json::Map<String, Value> =
        used.into_iter().map(|(name, amount)| (name, json!(amount.to_string()))).collect();
    quota["status"]["used"] = Value::Object(shown);
    Ok(Some(quota))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(quota: &Value, amounts: Value) -> Result<Option<Value>, String> {
        let amounts = quota::amounts(&json!({"a": amounts}), "/a");
        charged(quota, &amounts)
    }

    #[test]
    fn what_is_left_is_given_and_no_more() {
        let quota = |used: &str| json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2", "secrets": "1"}, "used": {"pods": used, "secrets": "0"}}});
        let after = pods(&quota("1"), json!({"pods": "1", "count/pods": "1"})).expect("fits").expect("counts");
        assert_eq!(after["status"]["used"], json!({"pods": "2", "secrets": "0"}));
        assert_eq!(
            pods(&quota("2"), json!({"pods": "1"})),
            Err("exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2".to_owned())
        );
        assert_eq!(pods(&quota("2"), json!({"cpu": "1"})), Ok(None), "it does not bound this");
        let fresh = json!({"metadata": {"name": "q"}, "status": {"hard": {"pods": "2"}}});
        assert_eq!(pods(&fresh, json!({"pods": "1"})), Err("status unknown for quota: q, resources: pods".to_owned()));
    }
}
