//! The API server: one generic pipeline over resource descriptors, served over TLS and in process.

pub mod admission;
mod aggregation;
pub mod audit;
pub mod auth;
pub mod authenticate;
mod cbor;
pub mod connect;
mod custom;
mod discovery;
mod errors;
pub mod fairness;
mod follow;
mod held;
mod http;
mod in_process;
mod lookup;
mod metrics;
pub mod node_proxy;
mod openapi;
mod pipeline;
mod plugin_metrics;
mod protobuf;
mod proxy;
mod scan;
pub mod server;
mod streams;
mod suffix;
mod table;
mod uid;
pub mod version;
pub mod virtuals;
mod webhook;

pub use authenticate::{Authenticate, Peer};
pub use connect::Connect;
pub use server::{ApiServer, ServerConfig, Settings};
pub use virtuals::{RequestContext, Virtual};
