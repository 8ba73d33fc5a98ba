//! The networks of a node's links: an address can be announced by who is on its link. Pure.

use std::net::IpAddr;

use super::pool::number;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// The node does not say: an older one.
    Unknown,
    /// Networks, with their prefix lengths.
    Known(Vec<(IpAddr, u32)>),
}

impl Links {
    /// Networks in CIDR notation, with a comma between. What is none is left out.
    pub(super) fn of(ranges: &str) -> Self {
        let range = |text: &str| {
            let (network, prefix) = text.trim().split_once('/')?;
            Some((network.parse().ok()?, prefix.parse().ok()?))
        };
        Self::Known(ranges.split(',').filter_map(range).collect())
    }

    pub(super) fn may_have(&self, address: IpAddr) -> bool {
        match self {
            Self::Unknown => true,
            Self::Known(ranges) => ranges.iter().any(|(network, prefix)| is_within(address, *network, *prefix)),
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    let bits: u32 = if network.is_ipv4() { 32 } else { 128 };
    let differs = || (number(address) ^ number(network)).checked_shr(bits.saturating_sub(prefix)).unwrap_or(0) != 0;
    address.is_ipv4() == network.is_ipv4() && prefix <= bits && !differs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_on_the_links_whose_networks_hold_it() {
        let links = Links::of("192.0.2.0/25, fd00::/64,rubbish,10.0.0.0/99");
        for (address, is_there) in
            [("192.0.2.127", true), ("192.0.2.128", false), ("fd00::9", true), ("fd00:0:0:1::9", false), ("10.0.0.0", false)]
        {
            assert_eq!(links.may_have(ip(address)), is_there, "{address}");
        }
        assert!(Links::of("0.0.0.0/0").may_have(ip("198.51.100.1")) && !Links::of("::/0").may_have(ip("198.51.100.1")));
        assert!(Links::of("::/0").may_have(ip("fd00::1")) && !Links::of("").may_have(ip("192.0.2.1")));
        assert!(Links::Unknown.may_have(ip("192.0.2.1")));
    }
}
