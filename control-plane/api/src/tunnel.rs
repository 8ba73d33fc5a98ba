//! How a node opens a tunnel to the server (docs/decisions/0042-tunnels-of-nodes.md).

/// What the node's connection is upgraded to: HTTP/2 in which the server asks and the node answers. Each `CONNECT` is a
/// connection to the node's own API, or by `IP:PORT` to a pod of the node.
pub const PROTOCOL: &str = "mizzen-tunnel";

/// Header of an answer that refuses a connection: why.
pub const REFUSAL: &str = "mizzen-refusal";

pub const GROUP: &str = "mizzen.dev";
pub const VERSION: &str = "v1alpha1";
pub const RESOURCE: &str = "nodes";
pub const SUBRESOURCE: &str = "tunnel";

/// Where the node asks for it.
pub fn path(node: &str) -> String {
    format!("/apis/{GROUP}/{VERSION}/{RESOURCE}/{node}/{SUBRESOURCE}")
}
