//! The OCI runtime with real containers. Needs root and Debian's busybox-static.
#![allow(clippy::unwrap_used, reason = "helpers of tests, too, fail by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod lifecycle;
mod namespaces;
mod processes;
mod streams;
mod support;
