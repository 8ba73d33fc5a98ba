//! Admission: what changes or refuses a write after it is authorized and before it is stored. One file per plugin.

mod certificates;
mod default_tolerations;
mod dynamic;
mod ingress_class;
mod kind_warnings;
mod limit_ranger;
mod metrics;
mod namespace_lifecycle;
mod node_restriction;
mod pod_security;
mod pod_warnings;
mod priority;
pub(crate) mod quota;
mod rbac_escalation;
mod runtime_class;
mod service_account;
mod storage_class;
mod storage_protection;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use mizzen_api::{Object, Registry, Status};
use mizzen_client::{DeleteOptions, WriteOptions};
use mizzen_store::{RangeOptions, Store};
use parking_lot::Mutex;
use serde_json::Value;

use crate::auth::{Authorizer, Identity};
use crate::custom::CustomKinds;
use crate::metrics::heading;
use crate::pipeline::Target;

pub(crate) use dynamic::{Auditor, Dynamic};
use metrics::{Step, Times};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    /// `exec`, `attach`, `portforward` and `proxy`.
    Connect,
}

impl Operation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// With what options the client asked.
#[derive(Clone, Copy)]
pub enum Options<'a> {
    None,
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
}

/// What plugins tell a client whose request is admitted all the same.
#[derive(Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    pub fn add(&self, warning: String) {
        self.0.lock().push(warning);
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// One write as plugins see it.
#[derive(Clone, Copy)]
pub struct Attributes<'a> {
    pub identity: &'a Arc<Identity>,
    pub operation: Operation,
    pub(crate) target: &'a Target,
    pub dry_run: bool,
    pub options: Options<'a>,
    pub now: jiff::Timestamp,
    /// The stored document; `None` on create.
    pub old: Option<&'a Value>,
    pub(crate) registry: &'a Registry,
    pub(crate) store: &'a dyn Store,
    pub(crate) authorizer: &'a Arc<dyn Authorizer>,
    pub(crate) custom: &'a CustomKinds,
    pub warnings: &'a Warnings,
}

impl Attributes<'_> {
    pub fn group(&self) -> &str {
        &self.target.descriptor.group
    }

    pub fn resource(&self) -> &str {
        &self.target.descriptor.resource
    }

    pub fn subresource(&self) -> &str {
        &self.target.subresource
    }

    /// Empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        &self.target.namespace
    }

    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// Whether a pod is being created.
    pub fn creates_pod(&self) -> bool {
        self.operation == Operation::Create && self.target.is_pod() && self.subresource().is_empty()
    }

    /// Whether a pod itself is being created or updated.
    pub fn writes_pod(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update) && self.target.is_pod() && self.subresource().is_empty()
    }

    /// Whether a subresource of a pod is being written.
    pub fn writes_pod_of(&self, subresource: &str) -> bool {
        self.operation != Operation::Delete && self.target.is_pod() && self.subresource() == subresource
    }

    /// 403 with the name of what is written.
    pub fn forbid(&self, why: &str) -> Status {
        crate::errors::forbidden_because(&self.target.group_resource(), self.name(), why)
    }

    /// A stored object of a core kind.
    pub(crate) fn lookup(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let descriptor = self.registry.by_group_resource("", resource)?;
        self.store.get(&descriptor.key(namespace, name))
    }

    /// A stored object, decoded.
    ///
    /// # Errors
    /// When it is not JSON, which the store never holds.
    pub(crate) fn find(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
        let Some(descriptor) = self.registry.by_group_resource(group, resource) else { return Ok(None) };
        self.store.get(&descriptor.key(namespace, name)).map(|object| decoded(&object)).transpose()
    }

    /// All stored objects of a namespace, or of a cluster-scoped kind, decoded.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn list(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Value>, Status> {
        self.stored(group, resource, namespace)?.iter().map(|object| decoded(object)).collect()
    }

    /// The same as they are stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn stored(&self, group: &str, resource: &str, namespace: &str) -> Result<Vec<Arc<Object>>, Status> {
        let Some(descriptor) = self.registry.by_group_resource(group, resource) else { return Ok(Vec::new()) };
        let prefix = match namespace {
            "" => descriptor.prefix(),
            namespace => format!("{}{namespace}/", descriptor.prefix()),
        };
        let range = self.store.range(&prefix, &RangeOptions::default()).map_err(crate::errors::store)?;
        Ok(range.items.into_iter().map(|(_, object)| object).collect())
    }
}

fn decoded(object: &Object) -> Result<Value, Status> {
    object.value().map_err(|error| Status::internal(format!("decode {object:?}: {error}")))
}

/// One admission plugin. Plugins that only look answer `Ok` from the method they do not need.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Changes the document, before the kind's own checks.
    ///
    /// # Errors
    /// When the write is refused.
    async fn mutate(&self, _attributes: &Attributes<'_>, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// Looks at the document as it will be stored; `None` for a deletion.
    ///
    /// # Errors
    /// When the write is refused.
    async fn validate(&self, _attributes: &Attributes<'_>, _object: Option<&Value>) -> Result<(), Status> {
        Ok(())
    }
}

/// A plugin under the name that Kubernetes has for it.
struct Named {
    name: &'static str,
    plugin: Arc<dyn Plugin>,
    times: Times,
}

/// The plugins in their order: all mutate, then, on the finished document, all validate. What objects of the API ask for
/// (policies and webhooks) comes last in both.
pub struct Chain {
    plugins: Vec<Named>,
    dynamic: Arc<Dynamic>,
    times: Times,
}

impl Chain {
    /// The plugins that every cluster has.
    pub(crate) fn builtin(dynamic: Arc<Dynamic>) -> Self {
        let plugins: [(_, Arc<dyn Plugin>); 18] = [
            ("NamespaceLifecycle", Arc::new(namespace_lifecycle::NamespaceLifecycle)),
            ("LimitRanger", Arc::new(limit_ranger::LimitRanger)),
            ("ServiceAccount", Arc::new(service_account::ServiceAccount)),
            ("NodeRestriction", Arc::new(node_restriction::NodeRestriction)),
            ("Priority", Arc::new(priority::Priority)),
            ("DefaultTolerationSeconds", Arc::new(default_tolerations::DefaultTolerations)),
            ("RuntimeClass", Arc::new(runtime_class::RuntimeClass)),
            ("DefaultIngressClass", Arc::new(ingress_class::DefaultIngressClass)),
            ("DefaultStorageClass", Arc::new(storage_class::DefaultStorageClass)),
            ("StorageObjectInUseProtection", Arc::new(storage_protection::StorageProtection)),
            ("PodSecurity", Arc::new(pod_security::PodSecurity)),
            ("PodWarnings", Arc::new(pod_warnings::PodWarnings)),
            ("KindWarnings", Arc::new(kind_warnings::KindWarnings)),
            ("RbacEscalation", Arc::new(rbac_escalation::RbacEscalation)),
            ("CertificateRequestor", Arc::new(certificates::CertificateRequestor)),
            ("CertificateApproval", Arc::new(certificates::CertificateConditions)),
            ("CertificateSigning", Arc::new(certificates::CertificateSigner)),
            ("CertificateSubjectRestriction", Arc::new(certificates::CertificateSubject)),
        ];
        let named = |(name, plugin)| Named { name, plugin, times: Times::default() };
        Self { plugins: plugins.into_iter().map(named).collect(), dynamic, times: Times::default() }
    }

    /// What objects of the API ask for.
    pub(crate) fn dynamic(&self) -> &Arc<Dynamic> {
        &self.dynamic
    }

    /// Appends how long admission took.
    pub(crate) fn report(&self, page: &mut String) {
        heading(page, metrics::OF_STEPS, "histogram", "How long the two steps of admission took, in seconds.");
        self.times.report(page, metrics::OF_STEPS, "");
        heading(page, metrics::OF_PLUGINS, "histogram", "How long each part of admission took, in seconds.");
        for Named { name, times, .. } in &self.plugins {
            times.report(page, metrics::OF_PLUGINS, &format!("name=\"{name}\","));
        }
        self.dynamic.report_times(page);
    }

    /// Whether something from outside changed the document, which may be anything then.
    pub(crate) async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<bool, Status> {
        let began = Instant::now();
        let answer = self.mutate_by_all(attributes, object).await;
        self.times.took((Step::Admit, attributes.operation), answer.is_err(), began.elapsed());
        answer
    }

    async fn mutate_by_all(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<bool, Status> {
        self.mutate_by_plugins(attributes, object).await?;
        let Some(mut round) = self.dynamic.mutate(attributes, object).await? else { return Ok(false) };
        // What was changed from outside the plugins have not seen yet: a container that was added wants its token.
        self.mutate_by_plugins(attributes, object).await?;
        round.again(attributes, object).await.map(|()| true)
    }

    async fn mutate_by_plugins(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        let mut began = Instant::now();
        for Named { plugin, times, .. } in &self.plugins {
            let answer = plugin.mutate(attributes, object).await;
            let ended = Instant::now();
            times.took((Step::Admit, attributes.operation), answer.is_err(), ended - began);
            answer?;
            began = ended;
        }
        Ok(())
    }

    /// Looks at the options of a stream before it is opened. No built-in plugin has a word in it.
    pub(crate) async fn connect(&self, attributes: &Attributes<'_>, options: &mut Value) -> Result<(), Status> {
        if let Some(mut round) = self.dynamic.mutate(attributes, options).await? {
            round.again(attributes, options).await?;
        }
        self.dynamic.validate(attributes, Some(options)).await
    }

    /// Looks at a review or a request for a token, which are answered and not stored. Webhooks have a word in both; no built-in
    /// plugin has in reviews.
    pub(crate) async fn admit_question(&self, attributes: &Attributes<'_>, question: &mut Value) -> Result<(), Status> {
        self.connect(attributes, question).await
    }

    /// Looks at a request for a token, which is answered and not stored.
    pub(crate) async fn validate_token_request(&self, attributes: &Attributes<'_>, request: &Value) -> Result<(), Status> {
        node_restriction::NodeRestriction.validate(attributes, Some(request)).await
    }

    pub(crate) async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let began = Instant::now();
        let answer = self.validate_by_all(attributes, object).await;
        self.times.took((Step::Validate, attributes.operation), answer.is_err(), began.elapsed());
        answer
    }

    async fn validate_by_all(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let mut began = Instant::now();
        for Named { plugin, times, .. } in &self.plugins {
            let answer = plugin.validate(attributes, object).await;
            let ended = Instant::now();
            times.took((Step::Validate, attributes.operation), answer.is_err(), ended - began);
            answer?;
            began = ended;
        }
        self.dynamic.validate(attributes, object).await
    }
}
