//! What a request is about, resolved against the registry.

use std::sync::Arc;

use mizzen_api::{GroupResource, GroupVersion, GroupVersionResource, Registry, ResourceDescriptor, Scope, Status, Verb};

use crate::errors;

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) descriptor: Arc<ResourceDescriptor>,
    /// The version that the client speaks, or the stored one beside `spoken`.
    pub(crate) version: Arc<str>,
    /// What the client speaks, where objects are stored as something else.
    pub(crate) spoken: Option<GroupVersion>,
    /// Empty for cluster-scoped resources, and for lists over all namespaces.
    pub(crate) namespace: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

impl Target {
    /// # Errors
    /// `NotFound` when the resource is not served, or `BadRequest` when its scope does not fit.
    pub(crate) fn resolve(
        registry: &Registry,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<Self, Status> {
        let descriptor =
            registry.by_resource(&resource.group, &resource.version, &resource.resource).ok_or_else(errors::no_such_path)?;
        if !subresource.is_empty() && descriptor.subresource(subresource).is_none() {
            return Err(errors::no_such_path());
        }
        let namespace = match descriptor.scope {
            Scope::Cluster => "",
            Scope::Namespaced => namespace,
        };
        Ok(Self {
            descriptor,
            version: resource.version.clone(),
            spoken: None,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    pub(crate) fn group_resource(&self) -> GroupResource {
        self.descriptor.group_resource()
    }

    pub(crate) fn key(&self) -> String {
        self.descriptor.key(&self.namespace, &self.name)
    }

    /// The store's prefix for the collection that is asked for.
    pub(crate) fn prefix(&self) -> String {
        match self.namespace.as_str() {
            "" => self.descriptor.prefix(),
            namespace => format!("{}{namespace}/", self.descriptor.prefix()),
        }
    }

    /// A namespace is inside itself, so that a role in it can allow reading it.
    pub(crate) fn authorization_namespace(&self) -> &str {
        if self.is_namespace() { &self.name } else { &self.namespace }
    }

    pub(crate) fn is_namespace(&self) -> bool {
        self.descriptor.group.is_empty() && &*self.descriptor.resource == "namespaces"
    }

    pub(crate) fn is_pod(&self) -> bool {
        self.descriptor.group.is_empty() && &*self.descriptor.resource == "pods"
    }

    /// Bindings on their own: what they are about is named in the body.
    pub(crate) fn is_binding(&self) -> bool {
        self.descriptor.group.is_empty() && &*self.descriptor.resource == "bindings"
    }

    /// `apiVersion` of the client's documents.
    pub(crate) fn api_version(&self) -> String {
        match &*self.descriptor.group {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether a document is of the client's version.
    pub(crate) fn is_api_version(&self, given: &str) -> bool {
        match &*self.descriptor.group {
            "" => *given == *self.version,
            group => given.strip_prefix(group).and_then(|rest| rest.strip_prefix('/')) == Some(&*self.version),
        }
    }

    /// # Errors
    /// `MethodNotAllowed` when the resource or subresource does not serve the verb.
    pub(crate) fn require(&self, verb: Verb) -> Result<(), Status> {
        let verbs = match self.descriptor.subresource(&self.subresource) {
            Some(subresource) if !self.subresource.is_empty() => subresource.verbs,
            _ => self.descriptor.verbs,
        };
        if verbs.contains(&verb) { Ok(()) } else { Err(errors::method_not_allowed()) }
    }
}
