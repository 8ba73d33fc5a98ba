//! The cluster's table and its ways to services: compared with what they should be, and put back when somebody else has taken
//! them away.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope};

use crate::links::{address_of, failed, unless};
use crate::network::Network;
use crate::{Family, NetworkError, Subnet, announce, nft, state};

impl Network {
    /// The tables of all families, as they should be now.
    pub(crate) fn rules(&self) -> String {
        self.tables().map(|(_, text)| text).collect()
    }

    fn tables(&self) -> impl Iterator<Item = (Family, String)> {
        let states = self.states();
        let attached = states.iter().filter(|state| state.attached.is_some());
        let others: Vec<_> = attached.flat_map(|state| state.addresses()).collect();
        let ports = self.led_ports();
        self.pod_cidrs().map(move |range| (range.family(), nft::table(&self.config, range, &ports, &others)))
    }

    /// Looks whether somebody has taken rules away; answers whether the table had to be made anew.
    ///
    /// # Errors
    /// When nftables refuses. Call again.
    pub async fn keep_rules(&self) -> Result<bool, NetworkError> {
        // Whoever changes the table waits: what it has changed must be in what is made anew.
        let _rules = self.changing_rules.lock().await;
        let (table, tables): (_, Vec<_>) = (self.config.table(), self.tables().collect());
        let mut is_whole = true;
        for (family, text) in &tables {
            for (chain, rules) in counts(text) {
                is_whole &= nft::count_rules_in(None, *family, &table, &chain).await.is_ok_and(|count| count == rules);
            }
        }
        if is_whole {
            return Ok(false);
        }
        let told = self.peers.lock().await.allowed.take();
        let mut all = String::new();
        for (family, text) in &tables {
            all.push_str(text);
            if let Some((blocks, nodes)) = &told {
                all.push_str(&nft::peers(*family, &table, blocks, nodes));
            }
        }
        nft::apply(&table, &all).await?;
        Ok(true)
    }

    /// Leads the machine's own programs to services with addresses in these ranges, and in no others; answers how many ways of
    /// an earlier call had been taken away. Ranges of a family that pods have none of lead nowhere.
    ///
    /// # Errors
    /// When the kernel refuses. Call again.
    pub async fn keep_service_routes(&self, wanted: &BTreeSet<Subnet>) -> Result<usize, NetworkError> {
        let mut told = self.service_routes.lock().await;
        let bridge = self.config.bridge();
        let is = self.present_service_routes().await?;
        for range in wanted.iter().filter(|range| !is.contains_key(range)) {
            if let Some(gateway) = self.gateway(range.family()) {
                self.links.add_service_route(self.bridge, &bridge, *range, gateway).await?;
            }
        }
        for (_, message) in is.iter().filter(|(range, _)| !wanted.contains(range)) {
            let deleted = self.links.handle.route().del(message.clone()).execute().await;
            deleted.or_else(unless(libc::ESRCH)).map_err(failed("remove the services' route to", &bridge))?;
        }
        let restored = told.iter().filter(|range| wanted.contains(range) && !is.contains_key(range)).count();
        if *told != *wanted {
            state::save(&self.config.service_ranges_file(), wanted)?;
        }
        told.clone_from(wanted);
        Ok(restored)
    }

    /// The ranges of the last such call, also of one before this process; empty when there was none.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn remembered_service_ranges(&self) -> Result<BTreeSet<Subnet>, NetworkError> {
        Ok(state::load(&self.config.service_ranges_file())?.unwrap_or_default())
    }

    /// Routes to the bridge that have packets come from its address: the bridge's own range has one by the kernel, announced
    /// addresses have theirs, and all others are to services.
    async fn present_service_routes(&self) -> Result<BTreeMap<Subnet, RouteMessage>, NetworkError> {
        let own: Vec<_> = self.pod_cidrs().collect();
        // A netlink socket lists one thing at a time.
        let _listing = self.peers.lock().await;
        let range = |message: &RouteMessage| {
            let (mut to, mut is_ours, mut source, mut is_direct) = (None, false, None, true);
            for attribute in &message.attributes {
                match attribute {
                    RouteAttribute::Destination(address) => to = address_of(address),
                    RouteAttribute::Oif(index) => is_ours = *index == self.bridge,
                    RouteAttribute::PrefSource(address) => source = address_of(address),
                    RouteAttribute::Gateway(_) => is_direct = false,
                    _ => {}
                }
            }
            let range = Subnet::containing(to?, message.header.destination_prefix_length);
            // Routes of IPv6 have no scopes.
            let is_here = range.family() == Family::V6 || message.header.scope == RouteScope::Link;
            let is_from_us = source.is_some_and(|source| own.iter().any(|own| own.gateway() == source));
            let is_announced = message.header.protocol == announce::PROTOCOL;
            let is_services =
                is_ours && is_from_us && is_direct && is_here && !is_announced && !own.iter().any(|own| own.overlaps(range));
            is_services.then_some(range)
        };
        let all = self.links.routes().await?;
        Ok(all.into_iter().filter_map(|message| Some((range(&message)?, message))).collect())
    }
}

/// How many rules each chain of a table has, by its text.
fn counts(text: &str) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(chain) = line.strip_prefix("chain ").and_then(|rest| rest.strip_suffix(" {")) {
            counts.push((chain.to_owned(), 0));
            is_inside = true;
        } else if line == "}" {
            is_inside = false;
        } else if let Some((_, count)) = counts.last_mut().filter(|_| is_inside && !line.starts_with("type ")) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_each_chain_are_counted() {
        let text =
            "table ip a {\n  set s { type ipv4_addr; }\n  chain one {\n    type filter hook input priority 0; policy accept;
    drop\n    accept\n  }\n  chain two {\n    return\n  }\n}\nadd element ip a s { 10.0.0.1 }\n";
        assert_eq!(counts(text), [("one".to_owned(), 2), ("two".to_owned(), 1)]);
    }
}
