//! The store over raft: `log.redb` for order, `state.redb` for state, memory for reads.

mod dir;
mod error;
mod log_file;
mod log_store;
mod log_writer;
mod machine;
mod network;
#[cfg(test)]
mod power_loss;
mod proposer;
mod purge;
mod snapshot;
mod store;
mod types;

pub use error::RaftError;
pub use network::Router;
pub use store::{RaftConfig, RaftStore};
