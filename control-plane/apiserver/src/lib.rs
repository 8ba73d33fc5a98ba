//! The API server: one generic pipeline over resource descriptors, served over TLS and in process.

pub mod auth;
