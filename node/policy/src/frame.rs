//! The table without any policy: its maps, and where packets come by.

use mizzen_network::Family;

use crate::group::digest;
use crate::key::{Elements, Key};

/// Whose packets a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What pods of the node say to others and hear from them. Packets of one bridge pass here too (bridge-nf-call-iptables).
    Machine,
    /// What Wasm pods say to each other within the namespace that they share; all else passes the machine.
    Wasm,
}

/// The maps and sets of the frame, with the types of their elements, `ADDRESS` being that of the family's addresses.
pub(crate) const MAPS: [(&str, &str, &str); 3] = [
    ("map", "egress", "ADDRESS : verdict"),
    ("map", "ingress", "ADDRESS : verdict"),
    // Nobody keeps a pod from itself, by a service say.
    ("set", "itself", "ADDRESS . ADDRESS"),
];

/// Packets of connections that were let through once pass, their answers too. What the node's programs send to its pods passes
/// none of these hooks.
const KNOWN: &str = "ct state established,related accept";
const ITSELF: &str = "HEADER saddr . HEADER daddr @itself accept";
const OUT: &str = "HEADER saddr vmap @egress";
const IN: &str = "HEADER daddr vmap @ingress";

/// Without neighbour discovery nobody finds anybody. All else that pods send from addresses of the link would pass by what policies
/// say, which know them by the addresses that the cluster gave them.
const NEIGHBOURS: [&str; 2] = [
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept",
    "iifname \"BRIDGE\" ip6 saddr fe80::/10 drop",
];

/// A hook's chain: its name, where it is hooked in, and its rules, `HEADER` being that of the family's packets and `BRIDGE` where
/// pods are.
type Chain = (&'static str, &'static str, &'static [&'static str]);

/// Behind the translation of services' addresses and before masquerading: both sides are seen as what they are. The sender's
/// policies come first; being let through there says nothing about the receiver's.
const MACHINE: [Chain; 3] = [
    ("egress_forward", "hook forward priority -10", &[KNOWN, ITSELF, OUT]),
    ("egress_input", "hook input priority -10", &[KNOWN, OUT]),
    ("ingress_forward", "hook forward priority -5", &[KNOWN, ITSELF, IN]),
];

/// Both where packets arrive: a sender whose packet is dropped on its way out would be told.
const WASM: [Chain; 2] = [
    ("egress_within", "hook input priority -10", &["iifname != \"lo\" accept", KNOWN, ITSELF, OUT]),
    ("ingress_within", "hook input priority -5", &["iifname != \"lo\" accept", KNOWN, ITSELF, IN]),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub table: String,
    pub family: Family,
    pub side: Side,
    pub bridge: String,
}

impl Scope {
    /// (name, hook, rules) of each chain.
    fn hooks(&self) -> impl Iterator<Item = (&'static str, &'static str, Vec<String>)> + '_ {
        let chains: &'static [Chain] = match self.side {
            Side::Machine => &MACHINE,
            Side::Wasm => &WASM,
        };
        let (header, is_v6) = (self.family.nft(), self.family == Family::V6);
        chains.iter().map(move |(name, hook, rules)| {
            // Ahead of all that drops, behind what leaves a chain.
            let neighbours = NEIGHBOURS.iter().filter(|_| is_v6 && self.side == Side::Machine);
            (
                *name,
                *hook,
                neighbours.chain(*rules).map(|rule| rule.replace("HEADER", header).replace("BRIDGE", &self.bridge)).collect(),
            )
        })
    }

    /// The table, as commands name it.
    pub fn place(&self) -> String {
        format!("{} {}", self.family.nft(), self.table)
    }

    /// The chain that is looked at to see whether somebody has flushed the table, with the number of its rules.
    pub(crate) fn sample(&self) -> (&'static str, usize) {
        self.hooks().next().map_or(("", 0), |(name, _, rules)| (name, rules.len()))
    }

    /// The frame, in nft's language, as one block. A chain without rules bears its version, so that an agent of another version
    /// knows that it is not its own.
    pub fn frame(&self) -> String {
        format!("table {} {{\n  chain {} {{ }}\n{}}}\n", self.place(), self.version(), self.body())
    }

    /// The chains of the frame.
    pub fn chains(&self) -> Elements {
        let hooks = self.hooks().map(|(name, _, rules)| (Key::Chain(name.to_owned()), rules.join("\n")));
        std::iter::once((Key::Chain(self.version()), String::new())).chain(hooks).collect()
    }

    fn version(&self) -> String {
        format!("version_{}", digest(&self.body()))
    }

    fn body(&self) -> String {
        let maps = MAPS.iter().map(|(what, name, kind)| {
            let kind = kind.replace("ADDRESS", self.family.nft_type());
            format!("  {what} {name} {{ type {kind}; }}\n")
        });
        let chains = self.hooks().map(|(name, hook, rules)| {
            let rules: String = rules.iter().map(|rule| format!("    {rule}\n")).collect();
            format!("  chain {name} {{\n    type filter {hook}; policy accept;\n{rules}  }}\n")
        });
        maps.chain(chains).collect()
    }
}
