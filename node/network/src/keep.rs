//! The cluster's table and its ways to services: compared with what they should be, and put back when somebody else has taken
//! them away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use futures::TryStreamExt as _;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope};

use crate::links::{failed, unless};
use crate::network::Network;
use crate::nft::{self, Backend};
use crate::{HostPort, Ipv4Subnet, NetworkError, announce};

impl Network {
    /// The whole table, as it should be now.
    pub(crate) fn rules(&self) -> Result<String, NetworkError> {
        let states = self.states();
        let others: Vec<_> = states.iter().filter(|state| state.attached.is_some()).filter_map(|state| state.address).collect();
        let ports: Vec<(Vec<HostPort>, Backend)> = self.led_ports();
        nft::table(&self.config, self.subnet, &ports, &others)
    }

    /// Looks whether somebody has taken rules away; answers whether the table had to be made anew.
    ///
    /// # Errors
    /// When nftables refuses. Call again.
    pub async fn keep_rules(&self) -> Result<bool, NetworkError> {
        // Whoever changes the table waits: what it has changed must be in what is made anew.
        let _rules = self.changing_rules.lock().await;
        let text = self.rules()?;
        let table = self.config.table();
        let mut is_whole = true;
        for (chain, rules) in counts(&text) {
            is_whole &= nft::count_rules_in(None, &table, &chain).await.is_ok_and(|count| count == rules);
        }
        if is_whole {
            return Ok(false);
        }
        let mut told = self.peers.lock().await;
        let peers = told.allowed.take().map(|(blocks, nodes)| nft::peers(&table, &blocks, &nodes));
        nft::apply(&table, &(text + &peers.unwrap_or_default())).await?;
        Ok(true)
    }

    /// Leads the machine's own programs to services with addresses in these ranges, and in no others; answers how many ways of
    /// an earlier call had been taken away.
    ///
    /// # Errors
    /// When the kernel refuses. Call again.
    pub async fn keep_service_routes(&self, wanted: &BTreeSet<Ipv4Subnet>) -> Result<usize, NetworkError> {
        let mut told = self.service_routes.lock().await;
        let (bridge, gateway) = (self.config.bridge(), self.subnet.gateway());
        let is = self.present_service_routes().await?;
        for range in wanted.iter().filter(|range| !is.contains_key(range)) {
            self.links.add_service_route(self.bridge, &bridge, *range, gateway).await?;
        }
        for (_, message) in is.iter().filter(|(range, _)| !wanted.contains(range)) {
            let deleted = self.links.handle.route().del(message.clone()).execute().await;
            deleted.or_else(unless(libc::ESRCH)).map_err(failed("remove the services' route to", &bridge))?;
        }
        let restored = told.iter().filter(|range| wanted.contains(range) && !is.contains_key(range)).count();
        told.clone_from(wanted);
        Ok(restored)
    }

    /// Routes to the bridge that have packets come from its address: the bridge's own range has one by the kernel, announced
    /// addresses have theirs, and all others are to services.
    async fn present_service_routes(&self) -> Result<BTreeMap<Ipv4Subnet, RouteMessage>, NetworkError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
        // A netlink socket lists one thing at a time.
        let _listing = self.peers.lock().await;
        let all = self.links.handle.route().get(query).execute();
        let all: Vec<_> = all.try_collect().await.map_err(failed("list", "routes"))?;
        let range = |message: &RouteMessage| {
            let (mut to, mut is_ours, mut is_from_it) = (None, false, false);
            for attribute in &message.attributes {
                match attribute {
                    RouteAttribute::Destination(RouteAddress::Inet(ip)) => to = Some(*ip),
                    RouteAttribute::Oif(index) => is_ours = *index == self.bridge,
                    RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => is_from_it = *ip == self.subnet.gateway(),
                    _ => {}
                }
            }
            let range = Ipv4Subnet::containing(to?, message.header.destination_prefix_length);
            let header = &message.header;
            let is_services = is_ours
                && is_from_it
                && header.scope == RouteScope::Link
                && header.protocol != announce::PROTOCOL
                && !self.subnet.overlaps(range);
            is_services.then_some(range)
        };
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
