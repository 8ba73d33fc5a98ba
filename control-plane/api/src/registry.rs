//! Which resources are served.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;

use crate::descriptor::ResourceDescriptor;
use crate::schema::{self, SchemaSet};

/// The served resources and their schemas. Clones share one registry, which may change while they hold it (a
/// CustomResourceDefinition comes or goes); [`Registry::snapshot`] is one consistent view. Looking takes no lock.
#[derive(Clone)]
pub struct Registry {
    current: Arc<ArcSwap<Snapshot>>,
}

/// The registry at one moment.
pub struct Snapshot {
    descriptors: Vec<Arc<ResourceDescriptor>>,
    /// Group and plural; versions are compared in the descriptor, so that no key needs allocating.
    by_resource: HashMap<Arc<str>, Vec<usize>>,
    by_kind: HashMap<Arc<str>, Vec<usize>>,
    schemas: Arc<SchemaSet>,
}

impl Snapshot {
    pub fn new(descriptors: Vec<Arc<ResourceDescriptor>>, schemas: Arc<SchemaSet>) -> Self {
        let mut by_resource: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        let mut by_kind: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        for (index, descriptor) in descriptors.iter().enumerate() {
            by_resource.entry(descriptor.resource.clone()).or_default().push(index);
            by_kind.entry(descriptor.kind.clone()).or_default().push(index);
        }
        Self { descriptors, by_resource, by_kind, schemas }
    }

    fn find(&self, among: Option<&Vec<usize>>, group: &str, version: Option<&str>) -> Option<&Arc<ResourceDescriptor>> {
        among?.iter().map(|&index| &self.descriptors[index]).find(|descriptor| {
            &*descriptor.group == group
                && version.is_none_or(|version| descriptor.versions.iter().any(|served| &**served == version))
        })
    }

    pub fn by_resource(&self, group: &str, version: &str, resource: &str) -> Option<&Arc<ResourceDescriptor>> {
        self.find(self.by_resource.get(resource), group, Some(version))
    }

    pub fn by_group_resource(&self, group: &str, resource: &str) -> Option<&Arc<ResourceDescriptor>> {
        self.find(self.by_resource.get(resource), group, None)
    }

    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<ResourceDescriptor>> {
        self.find(self.by_kind.get(kind), group, Some(version))
    }

    /// The registry with other resources besides; what it has already wins.
    pub fn with(&self, more: impl IntoIterator<Item = Arc<ResourceDescriptor>>, schemas: Arc<SchemaSet>) -> Self {
        let mut descriptors = self.descriptors.clone();
        let more =
            more.into_iter().filter(|descriptor| self.by_group_resource(&descriptor.group, &descriptor.resource).is_none());
        descriptors.extend(more);
        Self::new(descriptors, schemas)
    }

    /// In the order in which discovery names them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ResourceDescriptor>> {
        self.descriptors.iter()
    }

    pub fn schemas(&self) -> &Arc<SchemaSet> {
        &self.schemas
    }
}

impl Registry {
    /// The kinds that every cluster has. Calls share the parsed schemas, not the registry.
    pub fn builtin() -> Self {
        static BUILTIN: LazyLock<Arc<Snapshot>> = LazyLock::new(|| {
            let descriptors = crate::kinds::builtin().into_iter().map(Arc::new).collect();
            Arc::new(Snapshot::new(descriptors, schema::builtin().clone()))
        });
        Self { current: Arc::new(ArcSwap::new(BUILTIN.clone())) }
    }

    /// One consistent view, which later changes do not touch.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Makes the registry serve something else from now on.
    pub fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
    }

    pub fn by_resource(&self, group: &str, version: &str, resource: &str) -> Option<Arc<ResourceDescriptor>> {
        self.current.load().by_resource(group, version, resource).cloned()
    }

    /// The resource whatever its version, as RBAC rules and owner references of controllers name it.
    pub fn by_group_resource(&self, group: &str, resource: &str) -> Option<Arc<ResourceDescriptor>> {
        self.current.load().by_group_resource(group, resource).cloned()
    }

    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<ResourceDescriptor>> {
        self.current.load().by_kind(group, version, kind).cloned()
    }

    /// All resources at this moment, in the order in which discovery names them.
    pub fn iter(&self) -> std::vec::IntoIter<Arc<ResourceDescriptor>> {
        self.current.load().descriptors.clone().into_iter()
    }

    pub fn schemas(&self) -> Arc<SchemaSet> {
        self.current.load().schemas.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_and_kinds_are_found_in_their_group_and_version_only() {
        let registry = Registry::builtin();
        let pods = registry.by_resource("", "v1", "pods").expect("pods are served");
        assert_eq!(&*pods.kind, "Pod");
        assert_eq!(&*registry.by_kind("apps", "v1", "Deployment").expect("deployments are served").resource, "deployments");
        assert!(registry.by_resource("apps", "v1", "pods").is_none());
        assert!(registry.by_resource("", "v2", "pods").is_none());
        assert!(registry.by_group_resource("apps", "replicasets").is_some());
    }

    #[test]
    fn a_clone_sees_what_replaces_the_registry_and_a_snapshot_does_not() {
        let registry = Registry::builtin();
        let (clone, before) = (registry.clone(), registry.snapshot());
        registry.replace(Snapshot::new(Vec::new(), registry.schemas()));
        assert_eq!(clone.iter().count(), 0);
        assert!(before.by_resource("", "v1", "pods").is_some());
        assert!(Registry::builtin().by_resource("", "v1", "pods").is_some());
    }

    #[test]
    fn every_builtin_kind_has_its_schema_and_unique_names() {
        let snapshot = Registry::builtin().snapshot();
        let mut seen = std::collections::HashSet::new();
        for descriptor in snapshot.iter() {
            assert!(snapshot.schemas().get(&descriptor.schema).is_some(), "{}", descriptor.schema);
            assert!(seen.insert(descriptor.group_resource().to_string()), "{} stands twice", descriptor.resource);
            for subresource in &descriptor.subresources {
                if let Some(kind) = &subresource.kind
                    && !kind.kind.ends_with("Options")
                {
                    assert!(snapshot.schemas().name_of(kind).is_some(), "{kind}");
                }
            }
        }
    }
}
