//! ClusterRoles that gather their rules from others (`aggregationRule`).

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::ClusterRole;
use mizzen_api::{LabelSelector, Object, ObjectRef};
use mizzen_client::Client;
use mizzen_reconcile::{Action, Controller, Error, Queue, Reconciler, WatchCache, WatchSpec, typed};
use serde_json::{Value, json};

use crate::context::Context;

const NAME: &str = "clusterrole-aggregation-controller";
/// Index of roles: whether they gather.
const GATHERING: &str = "gathering";

pub(crate) fn start(context: &Context) {
    let client = context.client(NAME);
    let queue = Queue::default();
    let roles = WatchCache::objects(WatchSpec::all(typed::gvr::<ClusterRole>()))
        .index(GATHERING, |role| selectors(role).is_some().then(|| GATHERING.to_owned()).into_iter().collect())
        .start(client.clone(), context.cancel.clone());
    roles.enqueue(&queue);
    // Which roles would gather from the one that changed, or did before, is for them to find out: they are few.
    let (gathering, wake) = (Arc::downgrade(&roles), queue.clone());
    roles.on_change(move |_| {
        let Some(roles) = gathering.upgrade() else { return };
        roles.by(GATHERING, GATHERING).iter().for_each(|role| wake.add(role.head().object_ref()));
    });
    context.run(Controller::new("clusterrole-aggregation", queue, Arc::new(Aggregation { client, roles })));
}

struct Aggregation {
    client: Arc<dyn Client>,
    roles: Arc<WatchCache>,
}

#[async_trait]
impl Reconciler for Aggregation {
    async fn reconcile(&self, key: ObjectRef) -> Result<Action, Error> {
        let Some(role) = self.roles.get(&key) else { return Ok(Action::Done) };
        let Some(selectors) = selectors(&role) else { return Ok(Action::Done) };
        let rules = gathered(&key.name, &selectors, &self.roles.list());
        if rules_of(&role) == rules {
            return Ok(Action::Done);
        }
        let rules = json!(rules);
        typed::update::<ClusterRole>(self.client.as_ref(), &role, |document| document["rules"] = rules).await?;
        Ok(Action::Done)
    }
}

/// `None` for a role whose rules are its own.
fn selectors(role: &Object) -> Option<Vec<LabelSelector>> {
    let rule = role.value().ok()?.get_mut("aggregationRule").map(Value::take).filter(|rule| !rule.is_null())?;
    let selectors = rule.get("clusterRoleSelectors").and_then(Value::as_array).cloned().unwrap_or_default();
    Some(selectors.iter().filter_map(|selector| LabelSelector::from_document(Some(selector)).ok()).collect())
}

fn rules_of(role: &Object) -> Vec<Value> {
    let rules = role.value().ok().and_then(|mut role| role.get_mut("rules").map(Value::take));
    rules.and_then(|rules| rules.as_array().cloned()).unwrap_or_default()
}

/// The rules of all other roles that a selector matches, in the order of the selectors and of the roles' names, each once.
fn gathered(own: &str, selectors: &[LabelSelector], roles: &[Arc<Object>]) -> Vec<Value> {
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        for role in roles.iter().filter(|role| role.head().name != own && selector.matches(&role.head().labels)) {
            for rule in rules_of(role) {
                if !rules.contains(&rule) {
                    rules.push(rule);
                }
            }
        }
    }
    rules
}
