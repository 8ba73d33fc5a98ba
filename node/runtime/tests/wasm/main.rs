//! `WasmRuntime` with real hosts and real components, in network namespaces of their own. Needs root.

#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod network;
mod programs;
mod support;
