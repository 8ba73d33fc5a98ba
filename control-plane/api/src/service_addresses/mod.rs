//! Where the addresses and node ports of services come from.

mod needs;
mod ports;
mod range;

pub use needs::{allocates_node_ports, has_address, has_health_check, has_node_ports};
pub use ports::{PortRange, PortRangeError};
pub use range::{RangeError, ServiceRange};

/// What a cluster gives its services unless they ask for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceAddresses {
    /// Of the primary family, which services have unless they ask for another.
    pub range: ServiceRange,
    /// Of the other family, where services can have both.
    pub second: Option<ServiceRange>,
    pub node_ports: PortRange,
}

impl ServiceAddresses {
    /// One range for each family, the primary one first.
    pub fn ranges(self) -> impl Iterator<Item = ServiceRange> {
        std::iter::once(self.range).chain(self.second)
    }
}

/// How many of a range's `size` members people pick by hand: those, the lowest, are given away last (KEP-3070, KEP-3668).
fn by_hand(size: u32, part: u32, most: u32) -> u32 {
    const LEAST: u32 = 16;
    if size <= LEAST { 0 } else { (size / part).clamp(LEAST, most) }
}
