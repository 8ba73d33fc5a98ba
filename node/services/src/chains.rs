//! The chains that services share: each says how to pick an endpoint and how many there are to pick from, and none knows a
//! service. What a packet asks for is the key by which the maps know whose endpoint it gets.

use std::fmt::Write as _;

use mizzen_network::Family;

/// Of packets to a service from outside, whose answers have to come back by this node.
pub const MASQUERADE_MARK: u32 = 0x0800_0000;

/// Any number: rules that name none get one of their own each, and would find nothing that others have noted.
const AFFINITY_SEED: u32 = 0x6d7a_6e36;
/// What the rules match before they look at a port.
const PROTOCOLS: &str = "meta l4proto { tcp, udp, sctp }";

/// By what a service is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// An address and port of its own.
    Address,
    /// A port of the node.
    NodePort,
}

impl Door {
    fn key(self, family: Family) -> String {
        match self {
            Self::Address => format!("{} daddr . meta l4proto . th dport", family.nft()),
            Self::NodePort => "meta l4proto . th dport".to_owned(),
        }
    }

    /// Which client asks for which service, as the key of who stays where. nft (1.0.6, of Debian 12) aborts over maps that are
    /// updated by keys longer than 16 bytes, so it is a number for IPv6: clients whose
    /// numbers are alike by chance stay together or, where they ask for different services, not at all.
    fn client(self, family: Family) -> String {
        let client = format!("{} saddr . {}", family.nft(), self.key(family));
        match family {
            Family::V4 => client,
            Family::V6 => format!("jhash {client} mod {} seed {AFFINITY_SEED:#x}", u32::MAX),
        }
    }

    /// The type of [`Self::client`].
    pub fn client_type(self, family: Family) -> &'static str {
        match (family, self) {
            (Family::V4, Self::Address) => "ipv4_addr . ipv4_addr . inet_proto . inet_service",
            (Family::V4, Self::NodePort) => "ipv4_addr . inet_proto . inet_service",
            (Family::V6, _) => "classid",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Address => 'a',
            Self::NodePort => 'n',
        }
    }

    /// The maps of endpoints, of choices for clients that stay, and of who stays where.
    fn maps(self) -> [&'static str; 3] {
        match self {
            Self::Address => ["endpoints", "choices", "affinity"],
            Self::NodePort => ["node_endpoints", "node_choices", "node_affinity"],
        }
    }
}

/// Which endpoints to pick from: the major number of their elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Range {
    All = 1,
    Local = 2,
}

impl Range {
    /// As nftables writes a class.
    pub fn seat(self, number: usize) -> String {
        class(((self as u32) << 16).wrapping_add(u32::try_from(number).unwrap_or(u32::MAX)))
    }
}

/// As nftables writes the type that numbers of endpoints have in maps (`classid`).
pub fn class(number: u32) -> String {
    format!("{:x}:{:x}", number >> 16, number & 0xffff)
}

/// How to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    pub door: Door,
    pub range: Range,
    /// At least 1, and less than 65536.
    pub count: usize,
    /// Seconds that a client stays with its endpoint.
    pub sticky: Option<u32>,
}

/// What is done with a packet that asks for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Pick(Pick),
    /// From outside: to any endpoint, by the node's address.
    Outside(Pick),
    /// From outside to the node's own endpoints, of which there are so many; the node's programs and pods to any.
    OutsideLocal(Pick, usize),
}

/// A chain: its name and its rules.
pub type Chain = (String, Vec<String>);

impl Way {
    /// The chain that does it. `guarded`: only for who is among the service's `source_ranges`.
    pub fn name(self, guarded: bool) -> String {
        let name = match self {
            Self::Pick(pick) => pick.name(),
            Self::Outside(pick) => format!("out_{}", pick.name()),
            Self::OutsideLocal(pick, local) => format!("own{local}_{}", pick.name()),
        };
        if guarded { format!("guard_{name}") } else { name }
    }

    /// Every chain that it needs, for packets of a family.
    pub fn chains(self, guarded: bool, bridge: &str, family: Family) -> Vec<Chain> {
        let (Self::Pick(pick) | Self::Outside(pick) | Self::OutsideLocal(pick, _)) = self;
        let mut chains = vec![(pick.name(), pick.rules(family))];
        let masquerade = format!("meta mark set meta mark or {MASQUERADE_MARK:#x}");
        match self {
            Self::Pick(_) => {}
            Self::Outside(_) => {
                let marked = format!("iifname != \"{bridge}\" {masquerade}");
                chains.push((self.name(false), vec![marked, format!("goto {}", pick.name())]));
            }
            Self::OutsideLocal(_, local) => {
                let any = pick.name();
                let own = Pick { range: Range::Local, count: local, ..pick };
                // Of the node's own addresses, the one that a program has may be loopback's, or one that the endpoint's node answers
                // otherwise than by this one.
                let own_programs = format!("fib saddr type local {masquerade} goto {any}");
                let mut rules = vec![format!("iifname \"{bridge}\" goto {any}"), own_programs];
                if local == 0 {
                    rules.push("drop".into());
                } else {
                    rules.push(format!("goto {}", own.name()));
                    chains.push((own.name(), own.rules(family)));
                }
                chains.push((self.name(false), rules));
            }
        }
        if guarded {
            let (key, ip) = (pick.door.key(family), family.nft());
            let guard = format!("{PROTOCOLS} {key} . {ip} saddr != @source_ranges drop");
            chains.push((self.name(true), vec![guard, format!("goto {}", self.name(false))]));
        }
        chains
    }
}

impl Pick {
    fn name(self) -> String {
        let mut name = format!("{}{}_{}", self.door.letter(), self.range as u32, self.count);
        if let Some(seconds) = self.sticky {
            let _ = write!(name, "_{seconds}s");
        }
        name
    }

    /// The number goes through the packet's priority: the one field of 32 bits that a rule can set and a map be asked by, and
    /// that no routing rule looks at.
    fn rules(self, family: Family) -> Vec<String> {
        let (key, ip) = (self.door.key(family), family.nft());
        let [endpoints, choices, affinity] = self.door.maps();
        let number = format!("meta priority set numgen random mod {} offset {}", self.count, (self.range as u32) << 16);
        let lead = format!("dnat {ip} to {key} . meta priority map @{endpoints}");
        let Some(seconds) = self.sticky else { return vec![format!("{PROTOCOLS} {number} {lead}")] };
        let client = self.door.client(family);
        let stays = match family {
            Family::V4 => format!("meta priority set {client} map @{affinity}"),
            Family::V6 => format!("meta priority set {client} meta priority set meta priority map @{affinity}"),
        };
        let keep = format!("update @{affinity} {{ {client} timeout {seconds}s : meta priority }}");
        vec![
            // The endpoint may be gone: then the last of these finds nothing, and the client gets another.
            format!("{PROTOCOLS} {stays} {keep} {lead}"),
            format!("{PROTOCOLS} {number} meta priority set {key} . meta priority map @{choices}"),
            // Updating would leave the old endpoint in place.
            format!("{PROTOCOLS} delete @{affinity} {{ {client} : meta priority }}"),
            // Of its own: when the map is full, clients do not stay, but they get through.
            format!("{PROTOCOLS} {keep}"),
            format!("{PROTOCOLS} {lead}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICK: Pick = Pick { door: Door::Address, range: Range::All, count: 3, sticky: None };

    fn names(way: Way, guarded: bool) -> Vec<String> {
        way.chains(guarded, "mz", Family::V4).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_chains_name_says_all_that_its_rules_depend_on() {
        assert_eq!(names(Way::Pick(PICK), false), ["a1_3"]);
        let node = Pick { door: Door::NodePort, sticky: Some(60), ..PICK };
        assert_eq!(names(Way::Outside(node), true), ["n1_3_60s", "out_n1_3_60s", "guard_out_n1_3_60s"]);
        assert_eq!(names(Way::OutsideLocal(PICK, 0), false), ["a1_3", "own0_a1_3"]);
        assert_eq!(names(Way::OutsideLocal(PICK, 2), false), ["a1_3", "a2_2", "own2_a1_3"]);
    }

    #[test]
    fn numbers_are_written_as_nftables_lists_them() {
        assert_eq!((Range::All.seat(0), Range::Local.seat(17), class(0x8_0007)), ("1:0".into(), "2:11".into(), "8:7".into()));
    }
}
