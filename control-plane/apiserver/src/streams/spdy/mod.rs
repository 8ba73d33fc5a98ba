//! SPDY/3.1 framing, the server's side: as much of the draft as Kubernetes' clients use for their streams.
//!
//! Windows are neither kept nor announced: those clients (spdystream) send as much as the connection takes and drop
//! WINDOW_UPDATE, so what bounds a stream is the connection it shares.

mod connection;
mod dictionary;
mod frame;
mod headers;

pub(super) use connection::{Connection, Input, Output, Received, Stream, serve};
