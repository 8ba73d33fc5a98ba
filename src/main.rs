//! The `mizzen` command: the only place where the parts are put together.

mod client;
mod cluster;
mod commands;
mod config;
mod failure;
mod slice;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    failure::end_quietly_without_readers();
    let cli = commands::Cli::parse();
    // Every TLS user in this process shares one provider; a second installation can only be the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    commands::run(cli)
}
