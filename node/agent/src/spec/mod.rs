//! From a container of a pod to what a runtime is asked to run.

pub(crate) mod build;
pub(crate) mod env;
pub(crate) mod expand;
pub(crate) mod mounts;
pub(crate) mod resources;
pub(crate) mod security;
pub(crate) mod service_env;
