//! The steps of a pod's life, each idempotent, one file each.

pub(crate) mod admit;
pub(crate) mod allocate;
pub(crate) mod credentials;
pub(crate) mod files;
pub(crate) mod kind;
pub(crate) mod lifecycle;
pub(crate) mod prepare;
pub(crate) mod processes;
pub(crate) mod pull;
pub(crate) mod resize;
mod resolv_conf;
pub(crate) mod runtime_class;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod sysctls;
pub(crate) mod teardown;
mod wishes;
