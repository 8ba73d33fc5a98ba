//! The user-visible sentences of the README, each tried with the real executables and the real kubectl.

#![allow(clippy::unwrap_used, reason = "tests")]

mod container;
mod lifecycle;
