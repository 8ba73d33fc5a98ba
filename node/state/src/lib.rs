//! What a node remembers of the cluster, so that it runs its pods while the server is away, over restarts and reboots too
//! (docs/decisions/0042-tunnels-of-nodes.md): a client that keeps what the API has answered, and answers from it.

mod keys;
mod memory;
mod references;
mod remembering;

pub use memory::{Memory, StateError};
pub use remembering::Remembering;
