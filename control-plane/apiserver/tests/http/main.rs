//! The API over TLS, as clients see it.

mod aggregation;
mod audit;
mod basics;
mod bodies;
mod connect;
mod connections;
mod encodings;
mod fairness;
mod limits;
mod operation;
mod proxies;
mod quota;
mod reads;
mod served;
#[path = "../support/mod.rs"]
mod support;
mod writes;
