//! Descriptors, said briefly.

use std::sync::Arc;

use crate::GroupVersionKind;
use crate::descriptor::{ResourceDescriptor, ScalePaths, Scope, Strategy, Subresource, Verb};

const ALL: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
const STATUS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

/// A resource of `v1` with all verbs, its singular the kind in lower case.
pub(super) fn resource(group: &str, kind: &str, plural: &str, scope: Scope, strategy: impl Strategy) -> ResourceDescriptor {
    let package = match group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    };
    ResourceDescriptor {
        group: group.into(),
        versions: vec!["v1".into()],
        kind: kind.into(),
        resource: plural.into(),
        singular: kind.to_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope,
        verbs: ALL,
        subresources: Vec::new(),
        scale: None,
        schema: format!("io.k8s.api.{package}.v1.{kind}").into(),
        virtual_only: false,
        other_forms: Vec::new(),
        stored_as: None,
        custom: None,
        strategy: Arc::new(strategy),
    }
}

pub(super) trait Describe: Sized {
    fn short(self, name: &str) -> Self;
    fn in_all(self) -> Self;
    fn subresource(self, name: &'static str, kind: Option<(&str, &str)>, verbs: &'static [Verb]) -> Self;
    fn proxy(self, options: &str) -> Self;
    fn status(self) -> Self;
    fn scale(self) -> Self;
    fn answers_only(self) -> Self;
}

impl Describe for ResourceDescriptor {
    fn short(mut self, name: &str) -> Self {
        self.short_names.push(name.into());
        self
    }

    /// In the category `all`, which `kubectl get all` asks for.
    fn in_all(mut self) -> Self {
        self.categories.push("all".into());
        self
    }

    /// `kind` is group and kind of the body, in `v1`, where it is not the resource itself.
    fn subresource(mut self, name: &'static str, kind: Option<(&str, &str)>, verbs: &'static [Verb]) -> Self {
        let kind = kind.map(|(group, kind)| GroupVersionKind::new(group, "v1", kind));
        // In the order in which discovery lists them.
        let place = self.subresources.partition_point(|known| known.name < name);
        self.subresources.insert(place, Subresource { name, kind, verbs });
        self
    }

    /// Requests below it go on to what the object is; `options` is the kind of its parameters.
    fn proxy(self, options: &str) -> Self {
        self.subresource("proxy", Some(("", options)), PROXY)
    }

    fn status(self) -> Self {
        self.subresource("status", None, STATUS)
    }

    /// `/scale` as workloads have it.
    fn scale(mut self) -> Self {
        self.scale = Some(ScalePaths {
            spec_replicas: "/spec/replicas".into(),
            status_replicas: "/status/replicas".into(),
            selector: "/spec/selector".into(),
        });
        self.subresource("scale", Some(("autoscaling", "Scale")), STATUS)
    }

    /// Nothing is stored: to create one is to ask.
    fn answers_only(mut self) -> Self {
        self.virtual_only = true;
        self.verbs = &[Verb::Create];
        self
    }
}
