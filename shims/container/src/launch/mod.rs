//! Starting processes in a fresh child of the shim, which reports over a pipe.
//!
//! The pipe's write end closes when the child has ended and the new process has executed its program: the end of the
//! notes without a failure among them is a successful start.

mod causes;
mod executor;
mod process;
mod rootfs;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use mizzen_shim_supervisor::daemon::restore_signals;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use serde::{Deserialize, Serialize};

pub(crate) use process::{Exec, Stdio, exec, init};

/// A start that takes longer is hung.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// One line of the notes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Note {
    /// The new process, in the host's process namespace.
    Pid(i32),
    /// What libcontainer logged as an error on the way to a failure, the first being the cause.
    Cause(String),
    Failed(Failure),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Failure {
    /// The process could not be started.
    pub(crate) fn start(message: impl Into<String>) -> Self {
        Self { reason: "StartError".into(), message: message.into() }
    }

    /// The container around it could not be made.
    pub(crate) fn create(message: impl Into<String>) -> Self {
        Self { reason: "CreateContainerError".into(), message: message.into() }
    }
}

/// An error with all its causes.
fn explain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let part = err.to_string();
        if !text.contains(&part) {
            let _ = write!(text, ": {part}");
        }
        cause = err.source();
    }
    text
}

/// The write end of the notes: a bare descriptor, since it is inherited through libcontainer's forks.
#[derive(Clone, Copy)]
struct Notes(RawFd);

impl Notes {
    fn write(self, note: &Note) {
        let Ok(mut line) = serde_json::to_vec(note) else { return };
        line.push(b'\n');
        // SAFETY: the descriptor stays open in this process until it ends or executes.
        let pipe = unsafe { BorrowedFd::borrow_raw(self.0) };
        // The shim is gone when this fails, and with it everyone who wanted to know.
        let _ = nix::unistd::write(pipe, &line);
    }
}

/// A start under way.
pub(crate) struct Launch {
    child: Pid,
    /// When to take it for hung.
    pub(crate) until: Instant,
    notes: File,
    buffer: Vec<u8>,
}

impl Launch {
    /// Runs `work` in a child; what it returns is noted as the new process's id or as the failure.
    fn fork(work: impl FnOnce(Notes) -> Result<i32, Failure>) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // SAFETY: the shim has one thread.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                let until = Instant::now() + LIMIT;
                Ok(Self { child, until, notes: read.into(), buffer: Vec::new() })
            }
            ForkResult::Child => {
                drop(read);
                let notes = Notes(write.as_raw_fd());
                causes::note(notes);
                let result = restore_signals().map_err(|err| Failure::create(err.to_string())).and_then(|()| work(notes));
                notes.write(&match result {
                    Ok(pid) => Note::Pid(pid),
                    Err(failure) => Note::Failed(failure),
                });
                // SAFETY: ends the child without running what belongs to the shim.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// Ends the child, and with it what it made so far but did not yet hand over.
    pub(crate) fn kill(&self) {
        let below = format!("/proc/{0}/task/{0}/children", self.child);
        let children = std::fs::read_to_string(below).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw);
        for pid in [self.child].into_iter().chain(children) {
            // One that has ended meanwhile is what was wanted.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    /// Takes the notes that have arrived; true when there will be no more.
    pub(crate) fn read(&mut self, notes: &mut Vec<Note>) -> bool {
        let mut chunk = [0; 4096];
        let ended = loop {
            match self.notes.read(&mut chunk) {
                Ok(0) => break true,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => break err.kind() != io::ErrorKind::WouldBlock,
            }
        };
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            notes.extend(serde_json::from_slice::<Note>(&line).ok());
        }
        ended
    }
}

impl AsFd for Launch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notes.as_fd()
    }
}

/// Gives a pipe end to the user of the process, who may want to open it again as `/dev/stdout`.
fn give(fd: &OwnedFd, uid: u32) {
    // Without it only that reopening fails.
    let _ = nix::unistd::fchown(fd, Some(nix::unistd::Uid::from_raw(uid)), None);
}

/// Errors on standard error, which is the shim's own log.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "{} {message}", mizzen_shim_supervisor::clock::now());
}
