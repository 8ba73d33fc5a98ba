//! Becoming a process that lives on when the one that started it dies.

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, fork, setsid};

/// Goes on in a child with a session of its own, which adopts the orphans below it and ignores broken pipes. The calling
/// process ends with 0 and never returns. To be called before any thread is started.
///
/// # Errors
/// When the kernel refuses one of the steps.
pub fn daemonise() -> io::Result<()> {
    // SAFETY: single-threaded by contract, so that the child may go on as if nothing had happened.
    match unsafe { fork() }? {
        // SAFETY: ends this process without running what belongs to the child.
        ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
        ForkResult::Child => {}
    }
    setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    ignore(Signal::SIGPIPE, SigHandler::SigIgn)
}

/// Undoes in a forked child what [`daemonise`] and [`crate::reap::Reaper`] did to signals, since masks and ignored signals
/// survive exec.
///
/// # Errors
/// When the kernel refuses.
pub fn restore_signals() -> io::Result<()> {
    ignore(Signal::SIGPIPE, SigHandler::SigDfl)?;
    SigSet::empty().thread_set_mask()?;
    Ok(())
}

fn ignore(signal: Signal, handler: SigHandler) -> io::Result<()> {
    // SAFETY: neither disposition runs code of ours.
    unsafe { sigaction(signal, &SigAction::new(handler, SaFlags::empty(), SigSet::empty()))? };
    Ok(())
}
