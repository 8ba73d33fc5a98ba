//! Group versions that other API servers answer for (`apiregistration.k8s.io`): their APIServices are followed in the store,
//! requests go on to them, and what they serve stands in discovery beside what this server does.

mod availability;
mod documents;
mod fetch;
mod relay;
mod remote;
mod resolve;
mod upkeep;

use std::sync::Arc;

use arc_swap::ArcSwap;
use mizzen_api::api_services;
use mizzen_store::{RangeOptions, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::certificates::PemPair;
use crate::follow;
use crate::proxy::Shown;
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
            store: store.clone(),
            shown,
            remotes: ArcSwap::default(),
            published: ArcSwap::default(),
            outdated: Notify::new(),
            shutdown: shutdown.clone(),
        });
        let revision = aggregation.load();
        let follower = aggregation.clone();
        tokio::spawn(follow::run(store, prefix(), revision, shutdown.clone(), move || follower.load()));
        tokio::spawn(documents::run(aggregation.clone(), shutdown));
        aggregation
    }

    /// Takes over what the store has. Returns the revision that it is of.
    fn load(&self) -> u64 {
        let range = match self.store.range(&prefix(), &RangeOptions::default()) {
            Ok(range) => range,
            Err(error) => {
                tracing::error!(%error, "read the APIServices");
                return self.store.revision();
            }
        };
        let known = self.remotes.load();
        let remotes: Vec<Arc<Remote>> = range
            .items
            .iter()
            .filter_map(|(_, object)| {
                let is_known = |known: &&Arc<Remote>| known.revision == object.revision() && known.name == object.head().name;
                match known.iter().find(is_known) {
                    Some(known) => Some(known.clone()),
                    None => Remote::read(object, self.shown.as_ref()).map(Arc::new),
                }
            })
            .collect();
        let is_same = known.len() == remotes.len() && known.iter().zip(&remotes).all(|(old, new)| Arc::ptr_eq(old, new));
        if !is_same {
            self.remotes.store(Arc::new(remotes));
            self.outdated.notify_one();
        }
        range.revision
    }

    /// Who answers for a group version, where it is not this server.
    pub(crate) fn remote(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes.load();
        remotes.iter().find(|remote| remote.group == group && remote.version == version).cloned()
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

/// Marks an answer that another server gave: it has no bound, and need not come whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign;

fn prefix() -> String {
    format!("/registry/{}/{}/", api_services::GROUP, api_services::RESOURCE)
}
