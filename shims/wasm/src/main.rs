//! `mizzen-wasm`: compiles Wasm in a sandbox, and hosts many Wasm pods in one unprivileged process.

mod compile;
mod cpu;
mod data;
mod dns;
mod engine;
mod files;
mod host;
mod http;
mod linker;
mod lookup;
mod names;
mod outgoing;
mod output;
mod pod;
mod privileges;
mod program;
mod receive;
mod sockets;
mod ticker;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: mizzen-wasm compile [plugin] < module > artifact
       mizzen-wasm fingerprint
       mizzen-wasm host <directory> <milliseconds to stay without a pod> [own-network]";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let command = arguments.first().and_then(|argument| argument.to_str()).unwrap_or_default();
    let stay = arguments.get(2).and_then(|argument| argument.to_str()?.parse().ok()).map(Duration::from_millis);
    let result = match (command, arguments.get(1), stay) {
        ("compile", None, None) => compile::run(compile::For::Pod),
        ("compile", Some(what), None) if what == "plugin" => compile::run(compile::For::Plugin),
        ("fingerprint", None, None) => compile::fingerprint(),
        ("host", Some(directory), Some(stay)) => {
            let own_network = arguments.get(3).is_some_and(|argument| argument == "own-network");
            host::run(&PathBuf::from(directory), stay, own_network)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, for a status message.
fn one_line(error: &anyhow::Error) -> String {
    let line = format!("{error:#}");
    line.split('\n').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
