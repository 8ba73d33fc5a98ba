//! What nodes and the control plane tell each other in annotations.

/// Of a Node: the networks of its links, with a comma between. Who answers for load balancers is chosen by it; a node without it may be
/// on any link.
pub const LINK_RANGES: &str = "mizzen.dev/link-ranges";
/// Of a Node: the address where it serves names. The endpoints of the service `kube-dns` are made of it.
pub const DNS_ADDRESS: &str = "mizzen.dev/dns-address";
/// Of a Node: the blocks of pod addresses that it would have, one for each family, with a comma between. Of its EndpointSlice: those that
/// it has.
pub const POD_CIDR: &str = "mizzen.dev/pod-cidr";
/// Of a node's EndpointSlice: its addresses of other families than the slice's.
pub const OTHER_ADDRESSES: &str = "mizzen.dev/other-addresses";
