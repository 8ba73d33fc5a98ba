//! The table in the kernel, by the `nft` command.

use async_trait::async_trait;
use mizzen_network::{Subnet, netlink, nft};

use crate::apply::{Apply, ApplyError};
use crate::compile::ranges;
use crate::frame::Scope;
use crate::listing;
use crate::model::{Changes, Elements, Part};
use crate::text;

pub struct Nft {
    scope: Scope,
    frame: Elements,
}

impl Nft {
    pub fn new(scope: Scope) -> Self {
        Self { frame: scope.chains(), scope }
    }

    /// Which tables there are says whether this one is; listing one that is not is an error like any other.
    async fn is_there(&self) -> Result<bool, ApplyError> {
        let text = nft::list(&self.scope.table, &["tables", self.scope.family().nft()]).await?;
        Ok(text.contains(&format!("\"{}\"", self.scope.table)))
    }

    /// Where there is no table, as after a reboot, makes one that drops what asks for services: what goes on un-led before there are
    /// rules would stay so.
    ///
    /// # Errors
    /// When nftables cannot be asked, or refuses.
    pub async fn hold(&self, service_ranges: &[Subnet]) -> Result<(), ApplyError> {
        if self.is_there().await? {
            return Ok(());
        }
        self.rebuild(&ranges(service_ranges, self.scope.family())).await
    }

    fn listing(&self, text: &str, wanted: &Elements) -> Result<Elements, ApplyError> {
        let failed = |source| ApplyError::Listing { table: self.scope.table.clone(), source };
        listing::read(text, wanted).map_err(failed)
    }
}

#[async_trait]
impl Apply for Nft {
    async fn read(&self, wanted: &Elements) -> Result<Option<Elements>, ApplyError> {
        if !self.is_there().await? {
            return Ok(None);
        }
        let text = nft::list(&self.scope.table, &["table", self.scope.family().nft(), &self.scope.table]).await?;
        let all: Elements = self.frame.iter().chain(wanted).map(|(key, value)| (key.clone(), value.clone())).collect();
        let elements = self.listing(&text, &all)?;
        let is_whole = self.frame.iter().all(|(chain, rules)| elements.get(chain) == Some(rules));
        Ok(is_whole.then(|| elements.into_iter().filter(|(key, _)| !self.frame.contains_key(key)).collect()))
    }

    async fn is_whole(&self) -> bool {
        // The hook that all traffic passes: whoever flushes a table takes its rules.
        let chain = "lead_in";
        let wanted = self.frame.get(&(Part::Chain, chain.to_owned())).map_or(0, |rules| rules.lines().count());
        netlink::count_rules(self.scope.family(), &self.scope.table, chain).is_ok_and(|count| count == wanted)
    }

    async fn change(&self, changes: &Changes) -> Result<(), ApplyError> {
        Ok(nft::apply(&self.scope.table, &text::change(&self.scope, changes)).await?)
    }

    async fn rebuild(&self, wanted: &Elements) -> Result<(), ApplyError> {
        Ok(nft::apply(&self.scope.table, &text::rebuild(&self.scope, wanted)).await?)
    }
}
