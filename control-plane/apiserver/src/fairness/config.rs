//! The objects of `flowcontrol.apiserver.k8s.io`, as requests are classified by them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use mizzen_api::Object;
use serde::Deserialize;
use tokio::sync::Notify;

use super::bootstrap;
use super::level::{Level, Shape};
use super::limits::{Bounds, Shares};
use super::rules::SchemaSpec;
use super::stats::Stats;
use crate::auth::{Action, Identity};

/// What the server has for all levels together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seats {
    pub(super) count: u32,
    /// How long a request waits for one at most.
    pub(super) patience: Duration,
}

/// What is left when no schema matches.
const CATCH_ALL: &str = "catch-all";

/// One `FlowSchema` whose level exists.
pub(super) struct Schema {
    pub(super) name: Arc<str>,
    pub(super) uid: HeaderValue,
    pub(super) spec: SchemaSpec,
    pub(super) level: Arc<Level>,
    pub(super) stats: Arc<Stats>,
}

/// All that a request is looked up in, in the order of precedence.
#[derive(Default)]
pub(super) struct Config {
    pub(super) schemas: Vec<Arc<Schema>>,
    pub(super) levels: Vec<Arc<Level>>,
}

#[derive(Deserialize)]
struct Document<S> {
    metadata: Metadata,
    spec: S,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    uid: String,
}

/// `PriorityLevelConfigurationSpec`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LevelSpec {
    #[serde(rename = "type")]
    kind: String,
    limited: Option<Limited>,
    exempt: Option<Concurrency>,
}

#[derive(Clone, Copy, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Concurrency {
    nominal_concurrency_shares: u32,
    lendable_percent: u32,
    borrowing_limit_percent: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Limited {
    #[serde(flatten)]
    concurrency: Concurrency,
    limit_response: LimitResponse,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct LimitResponse {
    queuing: Option<Queuing>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Queuing {
    queues: usize,
    hand_size: usize,
    queue_length_limit: usize,
}

impl LevelSpec {
    fn shape(&self) -> Shape {
        match self.limited.as_ref().map(|limited| limited.limit_response.queuing.as_ref()) {
            None => Shape::Exempt,
            Some(None) => Shape::Reject,
            Some(Some(queuing)) => {
                Shape::Queue { queues: queuing.queues, hand: queuing.hand_size, length: queuing.queue_length_limit }
            }
        }
    }

    fn shares(&self) -> Shares {
        let concurrency = self.limited.as_ref().map(|limited| limited.concurrency).or(self.exempt).unwrap_or_default();
        Shares {
            nominal: concurrency.nominal_concurrency_shares,
            lendable_percent: concurrency.lendable_percent,
            borrowing_percent: concurrency.borrowing_limit_percent,
        }
    }
}

/// The stored objects, decoded; one that cannot be is left out, with a word in the log.
fn decode<S: serde::de::DeserializeOwned>(objects: &[Arc<Object>]) -> Vec<Document<S>> {
    let decode = |object: &Arc<Object>| match serde_json::from_slice(object.bytes()) {
        Ok(document) => Some(document),
        Err(error) => {
            tracing::warn!(?object, %error, "an object of flow control cannot be read");
            None
        }
    };
    objects.iter().filter_map(decode).collect()
}

/// The objects without which nobody could be let in, where they are not stored (yet).
fn add_mandatory<S: serde::de::DeserializeOwned>(documents: &mut Vec<Document<S>>, mandatory: Vec<serde_json::Value>) {
    for value in mandatory {
        if let Ok(document) = serde_json::from_value::<Document<S>>(value)
            && !documents.iter().any(|stored| stored.metadata.name == document.metadata.name)
        {
            documents.push(document);
        }
    }
}

impl Config {
    /// What the stored objects say. Levels and counts that stay the same are taken over from `before`, with whatever runs
    /// and waits in them; one that is replaced or gone serves out what it has.
    pub(super) fn build(
        before: &Self,
        (levels, schemas): (&[Arc<Object>], &[Arc<Object>]),
        seats: Seats,
        scarce: &Arc<Notify>,
    ) -> Self {
        let mut levels = decode::<LevelSpec>(levels);
        add_mandatory(&mut levels, bootstrap::mandatory_levels());
        let mut schemas = decode::<SchemaSpec>(schemas);
        add_mandatory(&mut schemas, bootstrap::mandatory_schemas());

        let sum: u64 = levels.iter().map(|level| u64::from(level.spec.shares().nominal)).sum();
        let levels: Vec<Arc<Level>> = levels
            .iter()
            .map(|Document { metadata: Metadata { name, uid }, spec }| {
                let same =
                    |level: &&Arc<Level>| *level.name == **name && level.uid == uid.as_str() && level.shape == spec.shape();
                let level = before.levels.iter().find(same).cloned();
                let level = level.unwrap_or_else(|| Level::new(name, uid, spec.shape(), seats.patience, scarce.clone()));
                level.set_bounds(Bounds::of(spec.shares(), sum, seats.count));
                level
            })
            .collect();

        let by_name: HashMap<&str, &Arc<Level>> = levels.iter().map(|level| (&*level.name, level)).collect();
        let mut schemas: Vec<Arc<Schema>> = schemas
            .into_iter()
            .filter_map(|Document { metadata: Metadata { name, uid }, spec }| {
                let level = (*by_name.get(spec.priority_level_configuration.name.as_str())?).clone();
                let known = before.schemas.iter().find(|known| *known.name == *name && known.level.name == level.name);
                let stats = known.map(|known| known.stats.clone()).unwrap_or_default();
                let uid = HeaderValue::from_str(&uid).unwrap_or_else(|_| HeaderValue::from_static(""));
                Some(Arc::new(Schema { name: name.into(), uid, spec, level, stats }))
            })
            .collect();
        schemas.sort_by(|a, b| (a.spec.matching_precedence, &a.name).cmp(&(b.spec.matching_precedence, &b.name)));
        Self { schemas, levels }
    }

    /// The first schema that is about a request. `None` only where there is none at all.
    pub(super) fn classify(&self, user: &Identity, action: &Action<'_>) -> Option<Arc<Schema>> {
        let matching = self.schemas.iter().find(|schema| schema.spec.matches(user, action));
        matching.or_else(|| self.schemas.iter().find(|schema| &*schema.name == CATCH_ALL)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stored(values: Vec<Value>) -> Vec<Arc<Object>> {
        values.into_iter().map(|value| Arc::new(Object::new(serde_json::to_vec(&value).expect("encodes"), 1))).collect()
    }

    fn seats(count: u32) -> Seats {
        Seats { count, patience: Duration::from_secs(1) }
    }

    fn config(schemas: Vec<Value>) -> Config {
        let levels = [bootstrap::mandatory_levels(), bootstrap::suggested_levels()].concat();
        let schemas = [bootstrap::mandatory_schemas(), bootstrap::suggested_schemas(), schemas].concat();
        Config::build(&Config::default(), (&stored(levels), &stored(schemas)), seats(600), &Arc::default())
    }

    fn get<'a>(group: &'a str, resource: &'a str, subresource: &'a str, namespace: &'a str) -> Action<'a> {
        Action::Resource { verb: "get", group, resource, subresource, namespace, name: "n" }
    }

    fn schema_of(config: &Config, user: &str, groups: &[&str], action: &Action<'_>) -> String {
        let schema = config.classify(&Identity::component(user, groups), action).expect("always one");
        format!("{} -> {}", schema.name, schema.level.name)
    }

    #[test]
    fn components_are_classified_as_in_kubernetes() {
        let config = config(Vec::new());
        let pods = get("", "pods", "", "default");
        let lease = get("coordination.k8s.io", "leases", "", "kube-node-lease");
        let accounts = ["system:serviceaccounts"];
        let rows = [
            ("admin", &["system:masters"][..], &pods, "exempt -> exempt"),
            ("system:node:n", &["system:nodes"][..], &lease, "system-node-high -> node-high"),
            ("system:node:n", &["system:nodes"][..], &get("", "nodes", "status", ""), "system-node-high -> node-high"),
            ("system:node:n", &["system:nodes"][..], &pods, "system-nodes -> system"),
            ("system:kube-scheduler", &[][..], &pods, "kube-scheduler -> workload-high"),
            ("system:kube-scheduler", &[][..], &lease, "system-leader-election -> leader-election"),
            (
                "system:serviceaccount:kube-system:job-controller",
                &accounts[..],
                &pods,
                "kube-system-service-accounts -> workload-high",
            ),
            ("system:serviceaccount:a:b", &accounts[..], &pods, "service-accounts -> workload-low"),
            ("eve", &[][..], &pods, "global-default -> global-default"),
            ("eve", &[][..], &Action::Path { verb: "get", path: "/healthz" }, "probes -> exempt"),
        ];
        for (user, groups, action, wanted) in rows {
            assert_eq!(schema_of(&config, user, groups, action), wanted, "{user} {action:?}");
        }
    }

    #[test]
    fn limits_are_those_of_the_default_configuration() {
        let limits: HashMap<String, u32> =
            config(Vec::new()).levels.iter().map(|level| (level.name.to_string(), level.bounds().nominal)).collect();
        assert_eq!((limits["workload-low"], limits["workload-high"], limits["system"]), (245, 98, 74));
        assert_eq!((limits["leader-election"], limits["global-default"], limits["catch-all"]), (25, 49, 13));
    }

    #[test]
    fn the_lower_precedence_goes_first_and_a_dangling_schema_is_passed_over() {
        let schema = |name: &str, precedence: i32, level: &str| {
            json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": precedence,
                "priorityLevelConfiguration": {"name": level}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "eve"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}})
        };
        let config = config(vec![schema("b", 500, "system"), schema("a", 500, "workload-low"), schema("dangling", 3, "none")]);
        assert_eq!(schema_of(&config, "eve", &[], &get("", "pods", "", "x")), "a -> workload-low");
    }

    #[test]
    fn what_stays_the_same_is_taken_over() {
        let before = config(Vec::new());
        let levels = stored(bootstrap::suggested_levels());
        let after = Config::build(&before, (&levels, &stored(bootstrap::suggested_schemas())), seats(300), &Arc::default());
        let find =
            |config: &Config, name: &str| config.levels.iter().find(|level| &*level.name == name).cloned().expect("is there");
        assert!(Arc::ptr_eq(&find(&before, "system"), &find(&after, "system")));
        assert_eq!(find(&after, "system").bounds().nominal, 37);
    }
}
