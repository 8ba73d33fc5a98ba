//! What the objects of the group say, as requests use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::Object;
use mizzen_extensions::plugins::{ADMISSION_POLICIES, CLUSTER_ADMISSION_POLICIES, Policies};
use mizzen_extensions::policy::Policy;

use super::bindings::Binding;
use super::calls::Calls;
use super::hooks::Hook;
use super::plugins::Plugin;
use crate::admission::metrics::Times;

/// A policy and the bindings that put it to work.
pub(super) struct Bound {
    pub(super) policy: Arc<Policy>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) mutating: Vec<Arc<Bound>>,
    pub(super) validating: Vec<Arc<Bound>>,
    /// By name, those of the cluster first.
    pub(super) mutating_plugins: Vec<Arc<Plugin>>,
    pub(super) validating_plugins: Vec<Arc<Plugin>>,
    /// In the order of their configurations' names.
    pub(super) mutating_hooks: Vec<Arc<Hook>>,
    pub(super) validating_hooks: Vec<Arc<Hook>>,
    pub(super) counted: Arc<Counted>,
}

/// What is counted of all that is asked, whatever the objects say.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) policies: Times,
    pub(super) plugins: Times,
    pub(super) hooks: Times,
    pub(super) calls: Calls,
}

impl Snapshot {
    pub(super) fn is_empty(&self) -> bool {
        !self.mutates() && self.validating.is_empty() && self.validating_plugins.is_empty() && self.validating_hooks.is_empty()
    }

    pub(super) fn mutates(&self) -> bool {
        !self.mutating.is_empty() || !self.mutating_plugins.is_empty() || !self.mutating_hooks.is_empty()
    }
}

#[derive(Clone)]
enum Entry {
    Policy(Arc<Policy>),
    Binding(Arc<Binding>),
    Hooks(Vec<Arc<Hook>>),
    Plugin(Arc<Plugin>),
}

/// The objects by `resource/name`, which is their order too.
#[derive(Default)]
pub(super) struct Entries(BTreeMap<String, (u64, Entry)>);

impl Entries {
    /// Takes over what there is now, and compiles what is new. Tells whether something changed.
    pub(super) fn take<'a>(
        &mut self,
        present: impl Iterator<Item = (&'a str, &'a Object)>,
        host: Option<&Arc<dyn Policies>>,
    ) -> bool {
        let mut next = BTreeMap::new();
        let mut changed = false;
        for (key, object) in present {
            let known = self.0.get(key).filter(|(revision, _)| *revision == object.revision());
            let entry = known.map(|(_, entry)| entry.clone()).or_else(|| {
                let before = self.0.get(key).map(|(_, entry)| entry);
                let entry = parse(key, object, before, host);
                changed |= !matches!((before, &entry), (Some(Entry::Plugin(before)), Some(Entry::Plugin(entry))) if Arc::ptr_eq(before, entry));
                entry
            });
            if let Some(entry) = entry {
                next.insert(key.to_owned(), (object.revision(), entry));
            }
        }
        changed |= self.0.keys().any(|key| !next.contains_key(key));
        self.0 = next;
        changed
    }

    pub(super) fn snapshot(&self, counted: Arc<Counted>) -> Snapshot {
        let plugins = [CLUSTER_ADMISSION_POLICIES, ADMISSION_POLICIES].into_iter().flat_map(|resource| self.of(resource));
        let plugins = plugins.filter_map(|entry| match entry {
            Entry::Plugin(plugin) => Some(plugin.clone()),
            _ => None,
        });
        let (mutating_plugins, validating_plugins) = plugins.partition(|plugin| plugin.is_mutating);
        Snapshot {
            mutating_plugins,
            validating_plugins,
            mutating: self.bound("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
            validating: self.bound("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
            mutating_hooks: self.hooks("mutatingwebhookconfigurations"),
            validating_hooks: self.hooks("validatingwebhookconfigurations"),
            counted,
        }
    }

    fn of<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Entry> {
        let entries = self.0.iter();
        entries.filter(move |(key, _)| key.split('/').next() == Some(resource)).map(|(_, (_, entry))| entry)
    }

    /// Policies that nothing binds are of no use.
    fn bound(&self, policies: &str, bindings: &str) -> Vec<Arc<Bound>> {
        let mut found = Vec::new();
        for entry in self.of(policies) {
            let Entry::Policy(policy) = entry else { continue };
            let bindings = self.of(bindings).filter_map(|entry| match entry {
                Entry::Binding(binding) if binding.policy == policy.name => Some(binding.clone()),
                _ => None,
            });
            let bindings: Vec<_> = bindings.collect();
            if !bindings.is_empty() {
                found.push(Arc::new(Bound { policy: policy.clone(), bindings }));
            }
        }
        found
    }

    fn hooks(&self, resource: &str) -> Vec<Arc<Hook>> {
        let hooks = self.of(resource).filter_map(|entry| match entry {
            Entry::Hooks(hooks) => Some(hooks),
            _ => None,
        });
        hooks.flatten().cloned().collect()
    }
}

fn parse(key: &str, object: &Object, before: Option<&Entry>, host: Option<&Arc<dyn Policies>>) -> Option<Entry> {
    let document = object.value().ok()?;
    match key.split('/').next()? {
        CLUSTER_ADMISSION_POLICIES | ADMISSION_POLICIES => {
            let known = match before {
                Some(Entry::Plugin(plugin)) => Some(plugin.clone()),
                _ => None,
            };
            let counts = known.as_ref().map(|plugin| plugin.counts.clone()).unwrap_or_default();
            // What its status counts changes all the time.
            let known = known.filter(|plugin| plugin.is_of(&document));
            Some(Entry::Plugin(known.or_else(|| Some(Arc::new(Plugin::parse(document, host?.clone(), counts))))?))
        }
        "mutatingadmissionpolicies" | "validatingadmissionpolicies" => Some(Entry::Policy(Arc::new(Policy::parse(&document)))),
        "mutatingadmissionpolicybindings" | "validatingadmissionpolicybindings" => {
            Some(Entry::Binding(Arc::new(Binding::parse(&document))))
        }
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            let is_mutating = key.starts_with("mutating");
            let hooks = document["webhooks"].as_array().into_iter().flatten();
            let configuration = Arc::from(document["metadata"]["name"].as_str().unwrap_or_default());
            Some(Entry::Hooks(hooks.map(|hook| Arc::new(Hook::parse(&configuration, hook, is_mutating))).collect()))
        }
        _ => None,
    }
}
