//! One process that the shim started: its streams, its start and its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use mizzen_shim_supervisor::reap::Ended;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use crate::launch::{Failure, LIMIT, Launch, Note, Stdio};
use crate::terminal::{Console, give, resize};

/// Unwritten input that stops the reading of more.
const INPUT_HIGH_WATER: usize = 64 * 1024;

/// The writable end of a process's input.
#[derive(Default)]
pub(crate) struct Input {
    file: Option<File>,
    pending: Vec<u8>,
    /// Close when everything is written.
    closing: bool,
}

impl Input {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        nonblocking(&fd)?;
        Ok(Self { file: Some(fd.into()), ..Self::default() })
    }

    pub(crate) fn full(&self) -> bool {
        self.pending.len() >= INPUT_HIGH_WATER
    }

    pub(crate) fn waiting(&self) -> Option<&File> {
        if self.pending.is_empty() { None } else { self.file.as_ref() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.file.is_some() {
            self.pending.extend_from_slice(bytes);
            self.flush();
        }
    }

    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.flush();
    }

    pub(crate) fn flush(&mut self) {
        let Some(file) = &mut self.file else { return };
        while !self.pending.is_empty() {
            match file.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.closing = true;
                    break;
                }
            }
        }
        self.pending = Vec::new();
        if self.closing {
            self.file = None;
        }
    }
}

pub(crate) struct Process {
    pub(crate) launch: Option<Launch>,
    pub(crate) failure: Option<Failure>,
    cause: Option<String>,
    pub(crate) pid: Option<i32>,
    pub(crate) ended: Option<Ended>,
    pub(crate) console: Option<Console>,
    pub(crate) terminal: bool,
    pub(crate) size: Option<(u16, u16)>,
    pub(crate) input: Input,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
    /// The connection that gets an exec's output.
    pub(crate) client: Option<u32>,
}

/// The process's ends of new streams, and ours.
pub(crate) fn streams(terminal: Option<Console>, stdin: bool) -> io::Result<(Stdio, Process)> {
    let mut process = Process {
        launch: None,
        failure: None,
        cause: None,
        pid: None,
        ended: None,
        console: None,
        terminal: terminal.is_some(),
        size: None,
        input: Input::default(),
        stdout: None,
        stderr: None,
        client: None,
    };
    if let Some(console) = terminal {
        let stdio = Stdio::Terminal(console.path().to_path_buf());
        process.console = Some(console);
        return Ok((stdio, process));
    }
    let (stdout, theirs_out) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, theirs_err) = pipe2(OFlag::O_CLOEXEC)?;
    nonblocking(&stdout)?;
    nonblocking(&stderr)?;
    let mut theirs_in = None;
    if stdin {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        process.input = Input::new(write)?;
        theirs_in = Some(read);
    }
    process.stdout = Some(stdout.into());
    process.stderr = Some(stderr.into());
    Ok((Stdio::Pipes { stdin: theirs_in, stdout: theirs_out, stderr: theirs_err }, process))
}

impl Process {
    /// Takes the notes of the start; true when it is over.
    pub(crate) fn read_notes(&mut self) -> bool {
        let Some(launch) = &mut self.launch else { return true };
        let mut notes = Vec::new();
        let over = launch.read(&mut notes);
        for note in notes {
            match note {
                Note::Pid(pid) => self.pid = Some(pid),
                // The first one is nearest to the cause.
                // What our own executor has to say needs no more causes.
                Note::Cause(cause) if self.failure.is_none() => drop(self.cause.get_or_insert(cause)),
                Note::Cause(_) => {}
                Note::Failed(failure) => drop(self.failure.get_or_insert(failure)),
            }
        }
        if over {
            self.launch = None;
            if let (Some(failure), Some(cause)) = (&mut self.failure, self.cause.take()) {
                failure.message = format!("{}: {cause}", failure.message);
            }
        }
        over
    }

    /// A start that hangs, as forks of libcontainer can, has failed.
    pub(crate) fn give_up_when_late(&mut self) {
        if let Some(launch) = self.launch.take_if(|launch| Instant::now() >= launch.until) {
            launch.kill();
            self.failure = Some(Failure::create(format!("the start took longer than {} s", LIMIT.as_secs())));
        }
    }

    /// The terminal has been made inside the container.
    ///
    /// # Errors
    /// When it did not arrive whole.
    pub(crate) fn take_terminal(&mut self, uid: u32) -> io::Result<()> {
        let Some(console) = self.console.take() else { return Ok(()) };
        let master = console.receive()?;
        if let Some((columns, rows)) = self.size {
            resize(master.as_fd(), columns, rows)?;
        }
        // Without it the process only cannot open its terminal by name.
        let _ = give(master.as_fd(), uid);
        self.input = Input::new(master.try_clone()?)?;
        self.stdout = Some(master.into());
        Ok(())
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.size = Some((columns, rows));
        if self.terminal
            && let Some(master) = &self.stdout
        {
            // The process may have ended meanwhile.
            let _ = resize(master.as_fd(), columns, rows);
        }
    }

    /// Whether everything the process wrote has been read.
    pub(crate) fn drained(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }
}

/// Reads once. `None` is the end of the stream, which a terminal tells by an error; an empty slice, nothing yet.
pub(crate) fn read<'a>(file: &mut File, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    match file.read(buffer) {
        Ok(0) => None,
        Ok(count) => Some(&buffer[..count]),
        Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Some(&[]),
        Err(_) => None,
    }
}

fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
