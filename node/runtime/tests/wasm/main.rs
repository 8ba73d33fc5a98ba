//! `WasmRuntime` with real hosts and real components, in network namespaces of their own. Needs root.

#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod limits;
mod logs;
mod mounts;
mod network;
mod outgoing;
mod programs;
mod support;
