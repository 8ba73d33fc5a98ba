//! Answering the agent.

use mizzen_shim_protocol::{Call, Control, Frame, Kind, PROTOCOL_VERSION, Reply, Request, State};

use crate::cgroup::Cgroup;
use crate::client::Role;
use crate::launch;
use crate::process::streams;
use crate::shim::{INIT, Phase, Shim};
use crate::terminal::Console;

impl Shim {
    /// Sends what is waiting and acts on what has arrived.
    pub(crate) fn serve(&mut self, id: u32) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.flush();
        client.receive();
        loop {
            let Some(client) = self.clients.get_mut(&id) else { return };
            match client.decoder.next_frame() {
                Ok(Some(frame)) => self.frame(id, &frame),
                Ok(None) => return,
                Err(err) => {
                    launch::complain(&format!("a client is sent away: {err}"));
                    client.gone = true;
                    return;
                }
            }
        }
    }

    fn frame(&mut self, id: u32, frame: &Frame) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let process = match client.role {
            Role::Asking | Role::Watching => {
                let reply = match frame.message::<Request>() {
                    Ok(request) => self.call(id, request),
                    Err(err) => Some(Reply::Unsupported { why: err.to_string() }),
                };
                if let (Some(reply), Some(client)) = (reply, self.clients.get_mut(&id)) {
                    client.message(&reply);
                }
                return;
            }
            Role::Exec(process) => process,
            Role::Attached => INIT,
        };
        let Some(process) = self.processes.get_mut(&process) else { return };
        match frame.kind {
            Kind::Stdin if !frame.payload.is_empty() => process.input.push(&frame.payload),
            // A terminal has no end of its own; a container that keeps its input open waits for the next client.
            Kind::Stdin if !process.terminal && (process.client.is_some() || self.info.stdin_once) => process.input.close(),
            Kind::Control => {
                if let Ok(Control::Resize { columns, rows }) = frame.message() {
                    process.resize(columns, rows);
                }
            }
            Kind::Stdin | Kind::Stdout | Kind::Stderr => {}
        }
    }

    /// `None` when the answer has been sent or follows later.
    fn call(&mut self, id: u32, request: Request) -> Option<Reply> {
        if !PROTOCOL_VERSION.understands(request.version) {
            return Some(Reply::Version { version: PROTOCOL_VERSION });
        }
        if request.container != self.info.id {
            return Some(Reply::NotFound);
        }
        Some(match request.call {
            Call::Start { .. } => Reply::Unsupported { why: "a container shim starts its container by itself".into() },
            Call::State => self.state(),
            Call::Watch => {
                let state = self.state();
                if let Some(client) = self.clients.get_mut(&id) {
                    client.role = Role::Watching;
                }
                state
            }
            Call::Signal { signal } => match self.signal(signal) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => Reply::Done,
                Err(err) => Reply::Failed { message: format!("signal {signal}: {}", err.desc()) },
            },
            Call::Exec { command, terminal, stdin } => self.exec(id, command, terminal, stdin),
            Call::Attach { stdin: _ } => self.attach(id),
            Call::Stats => {
                let cgroup = Cgroup(&self.info.cgroups);
                Reply::Stats { memory: cgroup.memory(), cpu: cgroup.cpu() }
            }
            Call::ReopenLog => Reply::Failed { message: "a container's shim rotates its log itself".to_owned() },
            Call::Remove => {
                let _ = self.signal(libc::SIGKILL);
                Cgroup(&self.info.cgroups).kill();
                Reply::Done
            }
        })
    }

    fn state(&self) -> Reply {
        match &self.phase {
            Phase::Running(running) => {
                Reply::State { state: State::Running { started_at: running.started_at.clone(), pid: Some(running.pid) } }
            }
            Phase::Exited { record, .. } => Reply::State { state: State::Exited(record.clone()) },
            Phase::Starting | Phase::Over => Reply::NotRunning,
        }
    }

    fn exec(&mut self, client: u32, command: Vec<String>, terminal: bool, stdin: bool) -> Reply {
        if !self.runs() {
            return Reply::NotRunning;
        }
        if command.is_empty() {
            return Reply::Failed { message: "no command".into() };
        }
        let number = self.number();
        let console = if terminal { Console::new(&self.dir, &format!("console-{number}.sock")).map(Some) } else { Ok(None) };
        let started = console.and_then(|console| streams(console, stdin)).and_then(|(stdio, mut process)| {
            let exec = launch::Exec { command, terminal, number };
            process.launch = Some(launch::exec(&self.dir, &self.info, &exec, stdio)?);
            process.client = Some(client);
            Ok(process)
        });
        match started {
            Ok(process) => {
                self.processes.insert(number, process);
                self.become_stream(client, Role::Exec(number))
            }
            Err(err) => Reply::Failed { message: err.to_string() },
        }
    }

    fn attach(&mut self, client: u32) -> Reply {
        if !self.runs() {
            return Reply::NotRunning;
        }
        self.become_stream(client, Role::Attached)
    }

    fn runs(&self) -> bool {
        matches!(self.phase, Phase::Running(_)) && self.processes.get(&INIT).is_some_and(|init| init.ended.is_none())
    }

    fn become_stream(&mut self, client: u32, role: Role) -> Reply {
        if let Some(client) = self.clients.get_mut(&client) {
            client.role = role;
        }
        Reply::Streaming
    }
}
