//! Networks by plugins of others: the runtime's side of the Container Network Interface, specification 1.1.
//!
//! What an attachment was made with is kept on disk from before the first plugin runs until the last has taken it away, so
//! that a crash or another configuration leaves nothing behind.

mod cache;
mod config;
mod error;
mod invoke;
mod result;
mod runtime;
mod runtime_config;
mod version;

pub use config::{NetworkList, Plugin};
pub use error::{CniError, Failure};
pub use result::address_of;
pub use runtime::{Attachment, AttachmentId, Cni, Dirs};
pub use runtime_config::{Bandwidth, PortMapping, RuntimeConfig};
pub use version::Version;
