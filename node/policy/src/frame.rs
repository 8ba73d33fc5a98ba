//! The table without any policy: its maps, and where packets come by.

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

/// The maps and sets of the frame, with the types of their elements.
pub(crate) const MAPS: [(&str, &str, &str); 3] = [
    ("map", "egress", "ipv4_addr : verdict"),
    ("map", "ingress", "ipv4_addr : verdict"),
    // Nobody keeps a pod from itself, by a service say.
    ("set", "itself", "ipv4_addr . ipv4_addr"),
];

/// Packets of connections that were let through once pass, their answers too. What the node's programs send to its pods passes
/// none of these hooks.
const KNOWN: &str = "ct state established,related accept";
const ITSELF: &str = "ip saddr . ip daddr @itself accept";
const OUT: &str = "ip saddr vmap @egress";
const IN: &str = "ip daddr vmap @ingress";

/// A hook's chain: its name, where it is hooked in, and its rules.
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
    pub side: Side,
}

impl Scope {
    fn hooks(&self) -> &'static [Chain] {
        match self.side {
            Side::Machine => &MACHINE,
            Side::Wasm => &WASM,
        }
    }

    /// The chain that is looked at to see whether somebody has flushed the table, with the number of its rules.
    pub(crate) fn sample(&self) -> (&'static str, usize) {
        self.hooks().first().map_or(("", 0), |(name, _, rules)| (name, rules.len()))
    }

    /// The frame, in nft's language, as one block. A chain without rules bears its version, so that an agent of another version
    /// knows that it is not its own.
    pub fn frame(&self) -> String {
        format!("table ip {} {{\n  chain {} {{ }}\n{}}}\n", self.table, self.version(), self.body())
    }

    /// The chains of the frame.
    pub fn chains(&self) -> Elements {
        let hooks = self.hooks().iter().map(|(name, _, rules)| (Key::Chain((*name).to_owned()), rules.join("\n")));
        std::iter::once((Key::Chain(self.version()), String::new())).chain(hooks).collect()
    }

    fn version(&self) -> String {
        format!("version_{}", digest(&self.body()))
    }

    fn body(&self) -> String {
        let maps = MAPS.iter().map(|(what, name, kind)| format!("  {what} {name} {{ type {kind}; }}\n"));
        let chains = self.hooks().iter().map(|(name, hook, rules)| {
            let rules: String = rules.iter().map(|rule| format!("    {rule}\n")).collect();
            format!("  chain {name} {{\n    type filter {hook}; policy accept;\n{rules}  }}\n")
        });
        maps.chain(chains).collect()
    }
}
