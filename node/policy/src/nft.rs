//! The table in the kernel, by the `nft` command.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mizzen_network::{Family, Network, nft};

use crate::apply::{Apply, ApplyError};
use crate::frame::{Scope, Side};
use crate::key::{Changes, Elements};
use crate::{listing, text};

/// Where a network namespace is pinned, if it is there.
type Place = Box<dyn Fn() -> Option<PathBuf> + Send + Sync>;

pub struct Nft {
    scope: Scope,
    frame: Elements,
    /// Where the table is; `None` for this process's network namespace.
    place: Option<Place>,
}

impl Nft {
    pub fn new(scope: Scope, place: Option<Place>) -> Self {
        Self { frame: scope.chains(), scope, place }
    }

    pub fn of(network: &Arc<Network>, side: Side, family: Family) -> Self {
        let network = network.clone();
        let config = network.config();
        let scope = Scope { table: config.policies_table(), family, side, bridge: config.bridge() };
        let place: Place = Box::new(move || network.has_wasm_namespace().then(|| network.config().wasm_pin()));
        Self::new(scope, (side == Side::Wasm).then_some(place))
    }

    /// Where to run nft; the outer `None` where there is no such namespace yet, and so nothing to guard.
    fn namespace(&self) -> Option<Option<PathBuf>> {
        match &self.place {
            None => Some(None),
            Some(place) => place().map(Some),
        }
    }

    async fn run(&self, rules: String) -> Result<(), ApplyError> {
        let Some(namespace) = self.namespace() else { return Ok(()) };
        Ok(nft::apply_in(namespace.as_deref(), &self.scope.table, &rules).await?)
    }
}

#[async_trait]
impl Apply for Nft {
    async fn read(&self, wanted: &Elements) -> Result<Option<Elements>, ApplyError> {
        let Some(namespace) = self.namespace() else { return Ok(None) };
        let (table, family) = (&self.scope.table, self.scope.family.nft());
        // Which tables there are says whether this one is; listing one that is not is an error like any other.
        let tables = nft::list_in(namespace.as_deref(), table, &["tables", family]).await?;
        if !tables.contains(&format!("\"{table}\"")) {
            return Ok(None);
        }
        let text = nft::list_in(namespace.as_deref(), table, &["table", family, table]).await?;
        let all: Elements = self.frame.iter().chain(wanted).map(|(key, value)| (key.clone(), value.clone())).collect();
        let elements = listing::read(&text, &all).map_err(|source| ApplyError::Listing { table: table.clone(), source })?;
        let is_whole = self.frame.iter().all(|(chain, rules)| elements.get(chain) == Some(rules));
        Ok(is_whole.then(|| elements.into_iter().filter(|(key, _)| !self.frame.contains_key(key)).collect()))
    }

    async fn is_whole(&self) -> bool {
        let Some(namespace) = self.namespace() else { return true };
        let (chain, wanted) = self.scope.sample();
        let count = nft::count_rules_in(namespace.as_deref(), self.scope.family, &self.scope.table, chain).await;
        count.is_ok_and(|count| count == wanted)
    }

    async fn change(&self, changes: &Changes) -> Result<(), ApplyError> {
        self.run(text::change(&self.scope, changes)).await
    }

    async fn rebuild(&self, wanted: &Elements) -> Result<(), ApplyError> {
        if self.scope.side == Side::Machine && !nft::sees_bridged(self.scope.family) {
            let lacking = format!("bridge-nf-call-{}tables", self.scope.family.nft());
            tracing::error!("network policies do not hold between pods of this node: the kernel lacks {lacking}");
        }
        self.run(text::rebuild(&self.scope, wanted)).await
    }

    async fn remove(&self) -> Result<(), ApplyError> {
        self.run(text::remove(&self.scope)).await
    }
}
