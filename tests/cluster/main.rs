//! The user-visible sentences of the README, each tried with the real executables and the real kubectl.

#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod container;
mod kube_rs;
mod kubectl_objects;
mod lifecycle;
mod own_client;
mod pods;
mod python;
mod rollouts;
mod streams;
mod wasm;
