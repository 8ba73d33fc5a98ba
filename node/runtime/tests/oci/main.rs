//! The OCI runtime with real containers. Needs root and Debian's busybox-static.

mod conformance;
mod lifecycle;
mod processes;
mod streams;
mod support;
