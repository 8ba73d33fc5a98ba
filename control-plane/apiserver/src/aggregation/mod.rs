//! Group versions that other API servers answer for (`apiregistration.k8s.io`): their APIServices are followed in the store,
//! requests go on to them, and what they serve stands in discovery beside what this server does.

mod availability;
mod backend;
mod client;
mod documents;
mod fetch;
mod follow;
mod relay;
mod remote;
mod resolve;
mod upkeep;

use std::sync::Arc;

use arc_swap::ArcSwap;
use mizzen_api::{GroupVersion, Object, api_services};
use mizzen_store::{RangeOptions, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::certificates::PemPair;
use crate::metrics::{heading, line};
use crate::proxy::Shown;
use backend::{Backend, Claim, ServiceKey};
pub(crate) use client::Relayed;
pub(crate) use documents::{Published, RemoteVersion};
pub(crate) use relay::Sent;
pub(crate) use remote::Remote;
pub(crate) use upkeep::run as keep;

/// Who claims what, and what is known of them.
pub(crate) struct Aggregation {
    store: Arc<dyn Store>,
    /// By what other servers know this one.
    shown: Option<Shown>,
    /// Only those that name a service.
    remotes: ArcSwap<Vec<Arc<Remote>>>,
    published: ArcSwap<Published>,
    /// [`Aggregation::remotes`] changed: discovery documents are fetched anew.
    outdated: Notify,
    /// Something of which the condition `Available` tells changed.
    changed: Notify,
    shutdown: CancellationToken,
}

impl Aggregation {
    /// Takes over what the store has, and follows it until `shutdown`.
    pub(crate) fn start(store: Arc<dyn Store>, front_proxy: Option<&PemPair>, shutdown: CancellationToken) -> Arc<Self> {
        let shown = front_proxy.map(Shown::read).transpose().unwrap_or_else(|error| {
            tracing::error!(%error, "read the front proxy's certificate");
            None
        });
        let aggregation = Arc::new(Self {
            store,
            shown,
            remotes: ArcSwap::default(),
            published: ArcSwap::default(),
            outdated: Notify::new(),
            changed: Notify::new(),
            shutdown: shutdown.clone(),
        });
        aggregation.load();
        tokio::spawn(follow::run(aggregation.clone(), shutdown.clone()));
        tokio::spawn(documents::run(aggregation.clone(), shutdown));
        aggregation
    }

    /// Takes over what the store has. Only who follows the store calls this, one change after the other.
    fn load(&self) {
        let range = match self.store.range(&prefix(), &RangeOptions::default()) {
            Ok(range) => range,
            Err(error) => {
                tracing::error!(%error, "read the APIServices");
                return;
            }
        };
        let known = self.remotes.load();
        let mut all = known.to_vec();
        let mut remotes = Vec::new();
        for (_, object) in &range.items {
            if let Some(remote) = self.remote_of(object, &all) {
                all.push(remote.clone());
                remotes.push(remote);
            }
        }
        let is_same = known.len() == remotes.len() && known.iter().zip(&remotes).all(|(old, new)| Arc::ptr_eq(old, new));
        if !is_same {
            self.remotes.store(Arc::new(remotes));
            self.outdated.notify_one();
        }
    }

    /// What an APIService says, with the backends that others of `known` have already; `None` for a local one.
    fn remote_of(&self, object: &Object, known: &[Arc<Remote>]) -> Option<Arc<Remote>> {
        let is_known = |known: &&Arc<Remote>| known.revision == object.revision() && known.name == object.head().name;
        if let Some(known) = known.iter().find(is_known) {
            return Some(known.clone());
        }
        let backend = |claim: Claim| {
            let same = known.iter().find(|remote| remote.backend.claim == claim);
            let fresh = || Arc::new(Backend::new(claim.clone(), self.shown.as_ref(), &*self.store));
            same.map_or_else(fresh, |remote| remote.backend.clone())
        };
        Remote::read(object, backend).map(Arc::new)
    }

    /// Takes over where the services are reached that `concerns` names; false when there is none of them.
    fn resolve(&self, concerns: impl Fn(&ServiceKey) -> bool) -> bool {
        let remotes = self.remotes.load();
        let backends = backends(&remotes).into_iter().filter(|backend| concerns(&backend.claim.service));
        backends.map(|backend| backend.resolve(&*self.store)).count() > 0
    }

    /// Appends which other servers did not answer when they were last asked.
    pub(crate) fn report(&self, page: &mut String) {
        let name = "aggregator_unavailable_apiservice";
        heading(page, name, "gauge", "Whether the server behind an APIService is away.");
        for remote in self.remotes.load().iter() {
            line(page, name, &format!("name=\"{}\"", remote.name), u8::from(!remote.is_available));
        }
    }

    /// Who answers for a group version, where it is not this server.
    pub(crate) fn remote(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes.load();
        remotes.iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    /// Group versions of which `published` says nothing, since nobody has been asked yet.
    pub(crate) fn unheard(&self, published: &Published) -> Vec<GroupVersion> {
        let remotes = self.remotes.load();
        let unheard = remotes.iter().filter(|remote| published.version(&remote.group, &remote.version).is_none());
        unheard.map(|remote| GroupVersion::new(remote.group.as_str(), remote.version.as_str())).collect()
    }

    /// Who has the OpenAPI v3 of a group version, where it is not this server.
    pub(crate) fn describer(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        let remote = self.remote(group, version)?;
        let is_described_here = |known: &RemoteVersion| known.openapi.is_none() && known.swagger.is_some();
        self.published.load().version(group, version).is_none_or(|known| !is_described_here(known)).then_some(remote)
    }

    /// What is known of the discovery documents of other servers. The same pointer means the same content.
    pub(crate) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }
}

/// Each once, however many group versions it has.
fn backends(remotes: &[Arc<Remote>]) -> Vec<&Arc<Backend>> {
    let mut backends: Vec<&Arc<Backend>> = Vec::new();
    for remote in remotes {
        if !backends.iter().any(|known| Arc::ptr_eq(known, &remote.backend)) {
            backends.push(&remote.backend);
        }
    }
    backends
}

/// Marks an answer that another server gave: it has no bound, and need not come whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign;

fn prefix() -> String {
    format!("/registry/{}/{}/", api_services::GROUP, api_services::RESOURCE)
}
