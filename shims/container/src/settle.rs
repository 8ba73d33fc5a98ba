//! What follows from what has happened.

use std::path::Path;
use std::time::{Duration, Instant};

use mizzen_shim_protocol::{Control, ExitRecord, PROTOCOL_VERSION, Reply, RunningRecord, StartReply, State, files, record};
use mizzen_shim_supervisor::clock;
use mizzen_shim_supervisor::log::Stream;

use crate::cgroup::Cgroup;
use crate::client::Role;
use crate::launch::{self, complain};
use crate::shim::{INIT, Phase, Shim, TERMINAL_REST, answer};

/// How long to wait for clients to take the last words.
const FAREWELL: Duration = Duration::from_secs(2);

impl Shim {
    /// Draws the conclusions from what has happened.
    pub(crate) fn settle(&mut self) {
        self.claim();
        self.settle_start();
        self.settle_execs();
        self.settle_exit();
        self.forget_clients();
        if let Phase::Exited { until, .. } = &self.phase
            && (Instant::now() >= *until || (self.clients.values().all(|c| c.unsent() == 0) && self.processes.is_empty()))
        {
            self.phase = Phase::Over;
        }
    }

    /// Matches ended children with our processes.
    fn claim(&mut self) {
        for (id, process) in &mut self.processes {
            let Some(pid) = process.pid.filter(|_| process.ended.is_none()) else { continue };
            if let Some(index) = self.unclaimed.iter().position(|(ended, _)| *ended == pid) {
                process.ended = Some(self.unclaimed.swap_remove(index).1);
                self.ended_at.insert(*id, Instant::now());
            }
        }
        if self.processes.values().all(|process| process.launch.is_none()) {
            self.unclaimed.clear();
        }
    }

    fn settle_start(&mut self) {
        for process in self.processes.values_mut() {
            process.give_up_when_late();
        }
        if !matches!(self.phase, Phase::Starting) {
            return;
        }
        let Some(init) = self.processes.get(&INIT) else { return };
        if init.launch.is_some() {
            return;
        }
        if let (None, Some(pid)) = (&init.failure, init.pid) {
            let running = RunningRecord { version: PROTOCOL_VERSION, pid, started_at: clock::now() };
            if let Err(err) = record::write_atomically(Path::new(files::RUNNING), &running) {
                complain(&format!("{}: {err}", files::RUNNING));
            }
            self.answer(&StartReply::Running(running.clone()));
            self.phase = Phase::Running(running);
            return;
        }
        let failure = init.failure.clone().unwrap_or_else(|| launch::Failure::create("the start ended without a word"));
        Cgroup(&self.info.cgroups).kill();
        self.answer(&StartReply::Failed { reason: failure.reason, message: failure.message });
        self.phase = Phase::Over;
    }

    fn answer(&mut self, reply: &StartReply) {
        if let Some(mut file) = self.reply.take() {
            answer(&mut file, reply);
        }
    }

    fn settle_execs(&mut self) {
        let ids: Vec<u32> = self.processes.keys().copied().filter(|id| *id != INIT).collect();
        for id in ids {
            let Some(process) = self.processes.get(&id) else { continue };
            if process.launch.is_some() {
                continue;
            }
            let word = if let Some(failure) = &process.failure {
                Control::Failed { message: failure.message.clone() }
            } else if let Some(ended) = process.ended {
                if !self.drain(id) {
                    continue;
                }
                Control::Exit { code: ended.code }
            } else if process.pid.is_none() {
                Control::Failed { message: "the start ended without a word".into() }
            } else {
                continue;
            };
            self.ended_at.remove(&id);
            let client = self.processes.remove(&id).and_then(|process| process.client);
            if let Some(client) = client.and_then(|client| self.clients.get_mut(&client)) {
                client.closing = true;
                client.message(&word);
            }
        }
    }

    /// Reads what an ended process left in its streams; true when that is all. What its own descendants still write is
    /// not waited for.
    fn drain(&mut self, id: u32) -> bool {
        while self.read_output(id, Stream::Stdout) {}
        while self.read_output(id, Stream::Stderr) {}
        let Some(process) = self.processes.get(&id) else { return true };
        let late = self.ended_at.get(&id).is_none_or(|at| Instant::now() >= *at + TERMINAL_REST);
        process.drained() || !process.terminal || late
    }

    fn settle_exit(&mut self) {
        let Phase::Running(running) = &self.phase else { return };
        let started_at = running.started_at.clone();
        let Some(ended) = self.processes.get(&INIT).and_then(|init| init.ended) else { return };
        // Without a process namespace of its own, others of the container may live on.
        Cgroup(&self.info.cgroups).kill();
        if !self.drain(INIT) {
            return;
        }
        self.ended_at.remove(&INIT);
        self.processes.remove(&INIT);
        if let Err(err) = self.log.finish() {
            complain(&format!("log: {err}"));
        }
        let reason = match ended.code {
            0 => "Completed",
            _ if Cgroup(&self.info.cgroups).oom_killed() => "OOMKilled",
            _ => "Error",
        };
        let record = ExitRecord {
            code: ended.code,
            signal: ended.signal,
            reason: reason.into(),
            message: String::new(),
            started_at,
            finished_at: clock::now(),
        };
        if let Err(err) = record::write_atomically(Path::new(files::EXIT), &record) {
            complain(&format!("{}: {err}", files::EXIT));
        }
        for client in self.clients.values_mut() {
            match client.role {
                Role::Watching => {
                    client.closing = true;
                    client.message(&Reply::State { state: State::Exited(record.clone()) });
                }
                Role::Attached => {
                    client.closing = true;
                    client.message(&Control::Exit { code: record.code });
                }
                Role::Asking | Role::Exec(_) => {}
            }
        }
        self.phase = Phase::Exited { record, until: Instant::now() + FAREWELL };
    }

    fn forget_clients(&mut self) {
        let gone: Vec<u32> = self.clients.iter().filter(|(_, client)| client.gone).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(client) = self.clients.remove(&id) else { continue };
            match client.role {
                Role::Exec(process) => {
                    if let Some(process) = self.processes.get_mut(&process) {
                        process.client = None;
                        process.input.close();
                    }
                }
                Role::Attached if self.info.stdin_once => {
                    if let Some(init) = self.processes.get_mut(&INIT) {
                        init.input.close();
                    }
                }
                Role::Attached | Role::Asking | Role::Watching => {}
            }
        }
    }
}
