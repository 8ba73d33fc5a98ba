//! One file per subcommand.

mod agent;
mod apply;
mod delete;
mod describe;
mod down;
mod exec;
mod get;
mod hollow;
mod image;
mod kubeconfig;
mod login;
mod logs;
mod plugin;
mod scheduler;
mod serve;
mod server;
mod signals;
mod token;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Mizzen: a WebAssembly-native orchestrator that speaks the Kubernetes API
#[derive(Debug, Parser)]
#[command(name = "mizzen", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a cluster on this machine: control plane and node
    Up(up::Args),
    /// Run a control plane alone
    Server(crate::config::Flags),
    /// Run a node of a server that runs elsewhere
    Agent(crate::config::agent::Flags),
    /// Tokens by which machines join: create, list, revoke
    Token(token::Args),
    /// Run simulated nodes, for tests and to plan capacity
    Hollow(hollow::Args),
    /// Remove every container, mount, namespace and address of a cluster
    Down(down::Args),
    /// Images on the node
    Image(image::Args),
    /// Scheduler plugins and admission policies as Wasm components: begin, build, test, push
    Plugin(plugin::Args),
    /// What the scheduler makes of pods: explain
    Scheduler(scheduler::Args),
    /// Print the administrator's kubeconfig, or make a node's
    Kubeconfig(kubeconfig::Args),
    /// Show objects
    Get(get::Args),
    /// Create or change objects from files (server-side apply)
    Apply(apply::Args),
    /// Show an object with its events
    Describe(describe::Args),
    /// Print the logs of a pod's container
    Logs(logs::Args),
    /// Run a command in a container
    Exec(exec::Args),
    /// Delete objects
    Delete(delete::Args),
}

/// A worker asks the kernel whose connections have something to say after so many turns of tasks. Tokio's own 61 turns of one
/// client that floods are a millisecond or two in which nobody else is heard.
const POLLS: u32 = 31;

/// Runs the command; an error is one line on stderr.
pub fn run(cli: Cli) -> ExitCode {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if matches!(cli.command, Command::Up(_) | Command::Server(_)) {
        runtime.on_thread_start(|| {
            if let Err(error) = crate::slice::shorten() {
                tracing::debug!(%error, "shorten the slices of a thread");
            }
        });
    }
    let runtime = match runtime.enable_all().event_interval(POLLS).build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("start the async runtime")),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Up(args) => up::run(args).await,
            Command::Server(flags) => server::run(flags).await,
            Command::Agent(flags) => agent::run(flags).await,
            Command::Token(args) => return Ok(token::run(args).await),
            Command::Down(args) => down::run(args).await,
            Command::Hollow(args) => hollow::run(args).await,
            Command::Image(args) => image::run(args).await,
            Command::Plugin(args) => return plugin::run(args).await,
            Command::Scheduler(args) => return Ok(scheduler::run(args).await),
            Command::Kubeconfig(args) => kubeconfig::run(args),
            Command::Get(args) => return Ok(get::run(args).await),
            Command::Apply(args) => return Ok(apply::run(args).await),
            Command::Describe(args) => return Ok(describe::run(args).await),
            Command::Logs(args) => return Ok(logs::run(args).await),
            Command::Exec(args) => return Ok(exec::run(args).await),
            Command::Delete(args) => return Ok(delete::run(args).await),
        }
        .map(|()| ExitCode::SUCCESS)
    });
    // A task that still blocks (a read of stdin) must not hold up the exit.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("mizzen: {}", crate::failure::line(error));
    ExitCode::FAILURE
}
