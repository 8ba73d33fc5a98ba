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
    pub range: ServiceRange,
    pub node_ports: PortRange,
}

/// How many of a range's `size` members people pick by hand: those, the lowest, are given away last (KEP-3070, KEP-3668).
fn by_hand(size: u32, part: u32, most: u32) -> u32 {
    const LEAST: u32 = 16;
    if size <= LEAST { 0 } else { (size / part).clamp(LEAST, most) }
}
