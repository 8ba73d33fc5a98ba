//! Where the loader of plugins meets the host that runs them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mizzen_api::ObjectRef;
use mizzen_extensions::plugins::{self, Answer, Breaker, OwnMetric, Review, Vitals};
use mizzen_plugin_loader::{Need, Offer, PolicyEngine, Refusal, RunningPolicy, Seen, Terms};
use mizzen_plugins_host::policy::{
    Context, Decision, Description, GroupVersionKind, GroupVersionResource, Operation, Request, Response, Take, User,
};
use mizzen_plugins_host::{
    BreakerState, Grants, Host, HostOptions, Limits, LoadError, Metric, MetricKind, PluginOptions, PolicyPlugin, Status,
    is_outside,
};
use mizzen_reconcile::Clock;

use super::executables;
use super::namespaces::Namespaces;
use super::outside::Outside;

/// Runs components of the world `mizzen:policy/admission-policy`, and policies of Kubewarden.
pub struct Engine {
    host: Arc<Host>,
    namespaces: Arc<Namespaces>,
}

impl Engine {
    /// Compiled code is kept in `cache`. Strangers' bytes are compiled by `mizzen-wasm`, in a process that can do nothing else,
    /// where that stands beside this executable. `outside` answers what policies of Kubewarden may ask where it is granted,
    /// `namespaces` what every policy may know of where a request goes.
    pub fn new(cache: &Path, clock: Arc<dyn Clock>, outside: Outside, namespaces: Arc<Namespaces>) -> Arc<Self> {
        let compiler = executables::beside("mizzen-wasm").ok();
        let outside: Option<Arc<dyn mizzen_plugins_host::Outside>> = Some(Arc::new(outside));
        let host = Host::new(HostOptions { cache: Some(cache.to_owned()), compiler, clock, outside });
        Arc::new(Self { host, namespaces })
    }

    /// What runs components of both worlds.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }
}

#[async_trait]
impl PolicyEngine for Engine {
    fn is_compiled(&self, digest: &str) -> bool {
        self.host.is_compiled(digest)
    }

    async fn load(&self, offer: Offer<'_>) -> Result<Arc<dyn RunningPolicy>, Refusal> {
        // Whoever may write policies in one namespace must not reach, by way of the server, what they cannot reach themselves.
        let is_namespaced = !offer.object.namespace.is_empty();
        if let Some(name) = offer.terms.capabilities.iter().find(|name| is_namespaced && is_outside(name)) {
            let message = format!("the host capability {name} is for a ClusterAdmissionPolicy");
            return Err(Refusal::new("CapabilityMissing", message));
        }
        let artifact = self.host.load(offer.bytes.clone().into()).await.map_err(|error| refusal(&error))?;
        let options = options(offer.object, offer.terms);
        // The guest runs here, for as long as it may take to start.
        let loaded = tokio::task::spawn_blocking(move || PolicyPlugin::load(&artifact, options)).await;
        let policy = loaded.map_err(|error| Refusal::new("NotStarted", error.to_string()))?.map_err(|error| refusal(&error))?;
        let seen = offer.context(needs(policy.description())).await?;
        policy.follow(Arc::new(View { seen, namespaces: self.namespaces.clone() }));
        Ok(Arc::new(Policy(Arc::new(policy))))
    }
}

/// How an object wants its plugin.
pub(super) fn options(object: &ObjectRef, terms: &Terms) -> PluginOptions {
    PluginOptions {
        settings: terms.settings.clone(),
        grants: Grants(terms.capabilities.clone()),
        limits: Limits {
            deadline: Duration::from_millis(terms.deadline),
            memory: usize::try_from(terms.memory).unwrap_or(usize::MAX),
            ..Limits::default()
        },
        ..PluginOptions::new(object.to_string())
    }
}

fn needs(description: &Description) -> Vec<Need> {
    let needs = description.needs.iter().map(|need| Need {
        api_version: need.api_version.clone(),
        kind: need.kind.clone(),
        namespace: need.namespace.clone(),
        label_selector: need.label_selector.clone(),
        indexes: need.indexes.clone(),
    });
    needs.collect()
}

pub(super) fn refusal(error: &LoadError) -> Refusal {
    let reason = match error {
        LoadError::NotWasm => "NotAComponent",
        LoadError::NoWorld { .. } | LoadError::WrongWorld { .. } => "WrongWorld",
        LoadError::TooLarge { .. } => "TooLarge",
        LoadError::Compile(_) | LoadError::Link(_) => "CompileFailed",
        LoadError::Version { .. } => "WrongVersion",
        LoadError::Kubewarden(_) => "Unsupported",
        LoadError::Import { .. } | LoadError::Unoffered { .. } | LoadError::Capability { .. } => "CapabilityMissing",
        LoadError::Settings(_) => "InvalidSettings",
        LoadError::Start(_) => "NotStarted",
        LoadError::Engine(_) | LoadError::Cache { .. } => "HostFailed",
    };
    Refusal::new(reason, error.to_string())
}

struct Policy(Arc<PolicyPlugin>);

#[async_trait]
impl RunningPolicy for Policy {
    async fn review(&self, review: &Review) -> Result<Answer, String> {
        let request = review.form(request);
        let response = match self.0.review_briefly(&request) {
            Some(response) => response,
            // A guest may run until its deadline: other requests must not wait for it behind this one.
            None => tokio::task::block_in_place(|| self.0.review(&request)),
        };
        response.map(answer).map_err(|error| error.to_string())
    }

    async fn review_stored(&self, reviews: &[&Review]) -> Vec<Result<Answer, String>> {
        let requests: Vec<Request> = reviews.iter().map(|review| Request::clone(&review.form(request))).collect();
        let policy = self.0.clone();
        match tokio::task::spawn_blocking(move || policy.review_stored(&requests)).await {
            Ok(responses) => {
                responses.into_iter().map(|response| response.map(answer).map_err(|error| error.to_string())).collect()
            }
            Err(error) => vec![Err(error.to_string()); reviews.len()],
        }
    }

    fn vitals(&self) -> Vitals {
        vitals(&self.0.status(), self.0.metrics())
    }
}

/// What the host knows of a plugin of any kind.
pub(super) fn vitals(status: &Status, metrics: Vec<Metric>) -> Vitals {
    let own = metrics.into_iter().map(|metric| OwnMetric {
        is_counter: metric.kind == MetricKind::Counter,
        name: metric.name,
        value: metric.value,
    });
    Vitals {
        refused: status.refused,
        memory: status.memory,
        instances: status.instances,
        breaker: match status.breaker {
            BreakerState::Closed => Breaker::Closed,
            BreakerState::Open => Breaker::Open,
            BreakerState::Probing => Breaker::Probing,
        },
        own: own.collect(),
        ..Vitals::default()
    }
}

/// The review in the contract's words.
fn request(review: &Review) -> Request {
    let Review {
        uid, kind, resource, subresource, name, namespace, operation, user, dry_run, object, old_object, options, ..
    } = review.clone();
    Request {
        uid,
        kind: GroupVersionKind { group: kind.group, version: kind.version, kind: kind.name },
        resource: GroupVersionResource { group: resource.group, version: resource.version, resource: resource.name },
        subresource,
        name,
        namespace,
        operation: match operation {
            plugins::Operation::Create => Operation::Create,
            plugins::Operation::Update => Operation::Update,
            plugins::Operation::Delete => Operation::Delete,
            plugins::Operation::Connect => Operation::Connect,
        },
        user: User { name: user.name, uid: user.uid, groups: user.groups, extra: user.extra },
        dry_run,
        object,
        old_object,
        options,
    }
}

fn answer(response: Response) -> Answer {
    let decision = match response.decision {
        Decision::Allow => plugins::Decision::Allow,
        Decision::Deny(denial) => {
            plugins::Decision::Deny(plugins::Denial { code: denial.code, reason: denial.reason, message: denial.message })
        }
        Decision::Patch(patch) => plugins::Decision::Patch(patch),
        Decision::Replace(object) => plugins::Decision::Replace(object),
    };
    Answer { decision, warnings: response.warnings, audit_annotations: response.audit_annotations }
}

/// What a policy sees of the cluster.
struct View {
    seen: Seen,
    namespaces: Arc<Namespaces>,
}

impl Context for View {
    fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String> {
        self.seen.get(api_version, kind, namespace, name)
    }

    fn by_label(&self, api_version: &str, kind: &str, namespace: &str, key: &str, value: &str, most: usize) -> Vec<String> {
        let mut found = self.seen.by_label(api_version, kind, namespace, key, value);
        found.truncate(most);
        found
    }

    fn by_index(&self, api_version: &str, kind: &str, path: &str, value: &str, most: usize) -> Vec<String> {
        let mut found = self.seen.by_index(api_version, kind, path, value);
        found.truncate(most);
        found
    }

    fn count(&self, api_version: &str, kind: &str, namespace: &str) -> u64 {
        self.seen.count(api_version, kind, namespace)
    }

    fn list(&self, api_version: &str, kind: &str, namespace: &str, take: Take<'_>) -> bool {
        self.seen.list(api_version, kind, namespace, take)
    }

    fn namespace(&self, name: &str) -> Option<String> {
        self.namespaces.get(name)
    }
}
