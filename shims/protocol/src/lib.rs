//! How the agent and the processes that own containers (shims) talk, and the files they leave for each other.
//!
//! A shim listens on a unix socket. The agent opens one connection per question; [`frame`] says how bytes are cut,
//! [`message`] what they mean. Shims outlive agents, so both sides may be of different versions: see [`Version`].

pub mod files;
pub mod frame;
pub mod logs;
pub mod message;
pub mod record;
pub mod version;
pub mod wasm;

pub use files::{CgroupDirectory, ContainerFile, ExitRecord, RunningRecord, StartReply};
pub use frame::{Decoder, Frame, FrameError, Kind, MAX_FRAME, encode};
pub use logs::LogLimits;
pub use message::{Call, Control, Reply, Request, State};
pub use version::{PROTOCOL_VERSION, Version};
pub use wasm::{CpuQuota, Preopen, WasmStart};
