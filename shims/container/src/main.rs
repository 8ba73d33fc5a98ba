//! `mizzen-shim`: owns one container. Started by the agent, it lives on without it, writes the log, serves exec and
//! attach, and leaves an exit record.
//!
//! One thread and a poll loop: libcontainer forks, and every fork of it happens in a child of this process, so that one
//! that hangs never stalls the logs.

mod cgroup;
mod client;
mod launch;
mod process;
mod serve;
mod settle;
mod shim;
mod terminal;

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use nix::fcntl::{FcntlArg, fcntl};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let result = match (args.next(), args.next(), args.next()) {
        (Some(verb), Some(dir), None) if verb == "run" => run(Path::new(&dir)),
        (Some(verb), None, None) if verb == "--version" => {
            println!("mizzen-shim {} protocol {}", env!("CARGO_PKG_VERSION"), mizzen_shim_protocol::PROTOCOL_VERSION);
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("usage: mizzen-shim run DIRECTORY (started by the mizzen agent, not by hand)");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("mizzen-shim: {err}");
            ExitCode::FAILURE
        }
    }
}

/// Standard input is the locked file of the directory, standard output takes the [`mizzen_shim_protocol::StartReply`],
/// standard error is this shim's own log.
fn run(dir: &Path) -> std::io::Result<()> {
    let lock = keep(std::io::stdin().as_fd())?;
    let reply = keep(std::io::stdout().as_fd())?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    drop(null);
    nix::unistd::chdir(dir)?;
    mizzen_shim_supervisor::daemon::daemonise()?;
    let result = shim::Shim::new(dir, reply).and_then(shim::Shim::run);
    drop(lock);
    result
}

/// A copy above the standard streams that children do not inherit.
fn keep(fd: std::os::fd::BorrowedFd<'_>) -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(copy) })
}
