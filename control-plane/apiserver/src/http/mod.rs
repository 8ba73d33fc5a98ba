//! HTTP around the pipeline: paths, parameters, bodies and encodings.

mod accept;
#[cfg(test)]
mod any_request;
mod asked;
mod body;
mod connect;
mod documents;
mod gzip;
mod handler;
mod health;
mod impersonate;
mod list_body;
mod params;
mod path;
mod pretty;
mod reads;
mod respond;
mod route;
mod watch_body;
mod writes;

pub(crate) use handler::{Connection, Handler};
