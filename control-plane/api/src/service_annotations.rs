//! Annotations by which controllers tell nodes something of a Service.

/// The node that answers for the addresses of the service's load balancer on the nodes' link.
pub const ANNOUNCED_BY: &str = "mizzen.dev/announced-by";
