//! HTTP around the pipeline: paths, parameters, bodies and encodings.

mod accept;
mod body;
mod handler;
mod health;
mod impersonate;
mod list_body;
mod params;
mod path;
mod respond;
mod watch_body;

pub(crate) use handler::Handler;
