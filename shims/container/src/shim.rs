//! The loop: what is awaited, what has happened, what follows from it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mizzen_shim_protocol::{ContainerFile, ExitRecord, Kind, RunningRecord, StartReply, files};
use mizzen_shim_supervisor::log::{Log, Stream};
use mizzen_shim_supervisor::reap::{Ended, Reaper};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::client::{Client, HIGH_WATER, Role, TOO_SLOW};
use crate::launch::{self, complain};
use crate::process::{Process, read, streams};
use crate::terminal::Console;

/// The number of the container's first process.
pub(crate) const INIT: u32 = 0;

/// How long the rest of a terminal's output may take after its process has ended.
pub(crate) const TERMINAL_REST: Duration = Duration::from_millis(200);

pub(crate) enum Phase {
    Starting,
    Running(RunningRecord),
    Exited { record: ExitRecord, until: Instant },
    Over,
}

enum Token {
    Reaper,
    Listener,
    Client(u32),
    Notes(u32),
    Console(u32),
    Input(u32),
    Output(u32, Stream),
}

pub(crate) struct Shim {
    pub(crate) dir: PathBuf,
    pub(crate) info: ContainerFile,
    reaper: Reaper,
    listener: UnixListener,
    pub(crate) log: Log,
    pub(crate) clients: BTreeMap<u32, Client>,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) phase: Phase,
    /// Children that ended before their number was known.
    pub(crate) unclaimed: Vec<(i32, Ended)>,
    /// When the first process was seen to have ended.
    pub(crate) ended_at: BTreeMap<u32, Instant>,
    pub(crate) reply: Option<File>,
    next: u32,
}

impl Shim {
    /// Reads the container's file in the working directory and starts the container.
    ///
    /// # Errors
    /// When there is no such file, or no log or socket can be made.
    pub(crate) fn new(dir: &Path, reply: OwnedFd) -> io::Result<Self> {
        let mut reply = File::from(reply);
        match Self::prepare(dir) {
            Ok(mut shim) => {
                shim.reply = Some(reply);
                Ok(shim)
            }
            Err(err) => {
                answer(&mut reply, &StartReply::Failed { reason: "CreateContainerError".into(), message: err.to_string() });
                Err(err)
            }
        }
    }

    fn prepare(dir: &Path) -> io::Result<Self> {
        let info: ContainerFile = serde_json::from_slice(&fs::read(files::CONTAINER)?)?;
        let listener = UnixListener::bind(files::SOCKET)?;
        listener.set_nonblocking(true)?;
        let reaper = Reaper::new()?;
        let log = Log::open(&info.log_path, info.log_limits)?;
        let console = if info.terminal { Some(Console::new(dir, "console.sock")?) } else { None };
        let (stdio, mut init) = streams(console, info.stdin)?;
        init.launch = Some(launch::init(dir, &info, stdio)?);
        Ok(Self {
            dir: dir.to_path_buf(),
            info,
            reaper,
            listener,
            log,
            clients: BTreeMap::new(),
            processes: BTreeMap::from([(INIT, init)]),
            phase: Phase::Starting,
            unclaimed: Vec::new(),
            ended_at: BTreeMap::new(),
            reply: None,
            next: INIT + 1,
        })
    }

    /// Until the container is over and everyone knows.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !matches!(self.phase, Phase::Over) {
            for token in self.wait()? {
                self.handle(token)?;
            }
            self.settle();
        }
        Ok(())
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Waits until something has happened.
    fn wait(&self) -> io::Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut fds = Vec::new();
        let mut watch = |fd: BorrowedFd<'_>, flags: PollFlags, token: Token| {
            // SAFETY: the descriptors belong to `self`, which outlives the call of poll below.
            fds.push(PollFd::new(unsafe { BorrowedFd::borrow_raw(std::os::fd::AsRawFd::as_raw_fd(&fd)) }, flags));
            tokens.push(token);
        };
        watch(self.reaper.as_fd(), PollFlags::POLLIN, Token::Reaper);
        watch(self.listener.as_fd(), PollFlags::POLLIN, Token::Listener);
        let starting = matches!(self.phase, Phase::Starting);
        for (id, client) in &self.clients {
            let mut flags = PollFlags::empty();
            // Questions wait until the start is over, so that every answer is about a container that exists.
            if !starting && !self.input_full(client.role) {
                flags |= PollFlags::POLLIN;
            }
            if client.unsent() > 0 {
                flags |= PollFlags::POLLOUT;
            }
            if !flags.is_empty() {
                watch(client.as_fd(), flags, Token::Client(*id));
            }
        }
        for (id, process) in &self.processes {
            if let Some(launch) = &process.launch {
                watch(launch.as_fd(), PollFlags::POLLIN, Token::Notes(*id));
            }
            if let Some(console) = &process.console {
                watch(console.as_fd(), PollFlags::POLLIN, Token::Console(*id));
            }
            if let Some(file) = process.input.waiting() {
                watch(file.as_fd(), PollFlags::POLLOUT, Token::Input(*id));
            }
            let behind = process.client.and_then(|client| self.clients.get(&client)).is_some_and(|c| c.unsent() > HIGH_WATER);
            if !behind {
                for (file, stream) in [(&process.stdout, Stream::Stdout), (&process.stderr, Stream::Stderr)] {
                    if let Some(file) = file {
                        watch(file.as_fd(), PollFlags::POLLIN, Token::Output(*id, stream));
                    }
                }
            }
        }
        let timeout = self.deadline().map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect::<Vec<_>>();
        Ok(tokens.into_iter().zip(ready).filter_map(|(token, ready)| ready.then_some(token)).collect())
    }

    fn deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Exited { until, .. } => Some(*until),
            Phase::Starting | Phase::Running(_) | Phase::Over => None,
        };
        let starts = self.processes.values().filter_map(|process| Some(process.launch.as_ref()?.until));
        phase.into_iter().chain(starts).chain(self.ended_at.values().map(|at| *at + TERMINAL_REST)).min()
    }

    fn input_full(&self, role: Role) -> bool {
        let process = match role {
            Role::Exec(process) => process,
            Role::Attached => INIT,
            Role::Asking | Role::Watching => return false,
        };
        self.processes.get(&process).is_some_and(|process| process.input.full())
    }

    fn handle(&mut self, token: Token) -> io::Result<()> {
        match token {
            Token::Reaper => {
                let ended = self.reaper.reap()?;
                self.unclaimed.extend(ended);
            }
            Token::Listener => {
                while let Ok((stream, _)) = self.listener.accept() {
                    if let Ok(client) = Client::new(stream) {
                        let id = self.number();
                        self.clients.insert(id, client);
                    }
                }
            }
            Token::Client(id) => self.serve(id),
            Token::Notes(id) => {
                if let Some(process) = self.processes.get_mut(&id) {
                    process.read_notes();
                }
            }
            Token::Console(id) => {
                let uid = self.info.uid;
                if let Some(Err(err)) = self.processes.get_mut(&id).map(|process| process.take_terminal(uid)) {
                    complain(&format!("terminal of process {id}: {err}"));
                }
            }
            Token::Input(id) => {
                if let Some(process) = self.processes.get_mut(&id) {
                    process.input.flush();
                }
            }
            Token::Output(id, stream) => {
                self.read_output(id, stream);
            }
        }
        Ok(())
    }

    /// Reads a stream once; false when there was nothing.
    pub(crate) fn read_output(&mut self, id: u32, stream: Stream) -> bool {
        let Some(process) = self.processes.get_mut(&id) else { return false };
        let slot = match stream {
            Stream::Stdout => &mut process.stdout,
            Stream::Stderr => &mut process.stderr,
        };
        let Some(file) = slot else { return false };
        let mut buffer = [0; 16 * 1024];
        let Some(bytes) = read(file, &mut buffer) else {
            *slot = None;
            return false;
        };
        if bytes.is_empty() {
            return false;
        }
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        if id != INIT {
            if let Some(client) = process.client.and_then(|client| self.clients.get_mut(&client)) {
                client.data(kind, bytes);
            }
            return true;
        }
        if let Err(err) = self.log.write(stream, bytes) {
            complain(&format!("log: {err}"));
        }
        for client in self.clients.values_mut().filter(|client| client.role == Role::Attached) {
            client.data(kind, bytes);
            client.gone |= client.unsent() > TOO_SLOW;
        }
        true
    }

    pub(crate) fn signal(&self, signal: i32) -> nix::Result<()> {
        match self.processes.get(&INIT) {
            // Not reaped yet, so that the number is still this process's. Real-time signals are allowed, which nix has
            // no names for.
            Some(Process { pid: Some(pid), ended: None, .. }) => {
                // SAFETY: takes two numbers.
                nix::errno::Errno::result(unsafe { libc::kill(*pid, signal) }).map(drop)
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn answer(file: &mut File, reply: &StartReply) {
    // An agent that died meanwhile finds the record instead.
    if let Ok(json) = serde_json::to_vec(reply) {
        let _ = file.write_all(&json);
    }
}
