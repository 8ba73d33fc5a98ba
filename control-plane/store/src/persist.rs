//! Writes the state to disk behind the back of whoever applies: applying never waits for a file.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::StoreError;
use crate::redb_state::{RedbState, Step};
use crate::state::weight;

/// At least this often something written is made durable.
const DURABLE_EVERY: Duration = Duration::from_secs(1);
/// So much is written at most before it is made durable.
const DURABLE_BYTES: usize = 16 << 20;
/// So long a write waits for others to share its commit.
const GATHER: Duration = Duration::from_millis(100);
/// So much may wait to be written before [`Persister::room`] makes the applier wait.
const QUEUE_BYTES: usize = 32 << 20;

/// How far writing has come, in the owner's positions (log indexes).
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Written: the archive answers for it.
    pub written: u64,
    /// Survives a crash.
    pub durable: u64,
    queue_bytes: usize,
    failed: Option<String>,
}

struct Write {
    steps: Vec<Step>,
    note: Vec<u8>,
    position: u64,
    bytes: usize,
    written: Box<dyn FnOnce() + Send>,
}

type Work = Box<dyn FnOnce(&RedbState) + Send>;

enum Message {
    Write(Write),
    Durable,
    Run(Work),
}

/// A thread that owns the writing side of a [`RedbState`].
pub struct Persister {
    queue: Mutex<Option<Sender<Message>>>,
    progress: Arc<watch::Sender<Progress>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Persister {
    /// Starts the thread; everything up to `position` is on disk already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no thread can be started.
    pub fn start(state: Arc<RedbState>, position: u64) -> Result<Self, StoreError> {
        let (queue, messages) = channel();
        let progress = Arc::new(watch::Sender::new(Progress { written: position, durable: position, ..Default::default() }));
        let worker = Worker { state, progress: progress.clone(), undurable_bytes: 0, dirty_since: None };
        let thread = std::thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || worker.run(&messages))
            .map_err(|error| StoreError::Unavailable { why: format!("starting the state writer failed: {error}") })?;
        Ok(Self { queue: Mutex::new(Some(queue)), progress, thread: Mutex::new(Some(thread)) })
    }

    /// Queues what was applied up to `position`; `written` is called once the archive has it.
    pub fn submit(&self, steps: Vec<Step>, note: Vec<u8>, position: u64, written: impl FnOnce() + Send + 'static) {
        let bytes = note.len() + steps.iter().map(step_bytes).sum::<usize>();
        self.progress.send_modify(|progress| progress.queue_bytes += bytes);
        self.send(Message::Write(Write { steps, note, position, bytes, written: Box::new(written) }));
    }

    /// Waits while too much is queued.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] once writing has failed.
    pub async fn room(&self) -> Result<(), StoreError> {
        self.wait_for(|progress| progress.queue_bytes < QUEUE_BYTES).await
    }

    /// Makes everything up to `position`, which was submitted before, durable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] once writing has failed.
    pub async fn durable(&self, position: u64) -> Result<(), StoreError> {
        if self.progress.borrow().durable < position {
            self.send(Message::Durable);
        }
        self.wait_for(|progress| progress.durable >= position).await
    }

    /// Runs `work` on the state after everything queued before.
    ///
    /// # Errors
    /// What `work` answers, or [`StoreError::Unavailable`] when the writer has stopped.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&RedbState) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, answer) = tokio::sync::oneshot::channel();
        self.send(Message::Run(Box::new(move |state| {
            // Nobody waits any more when the receiver is gone.
            let _ = done.send(work(state));
        })));
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Everything was replaced, durably, by a state of `position` (in [`Persister::run`]).
    pub fn restored(&self, position: u64) {
        self.progress.send_modify(|progress| (progress.written, progress.durable) = (position, position));
    }

    /// How far writing has come.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Writes what is queued, durably, and ends the thread. Blocks.
    pub fn stop(&self) {
        drop(self.queue.lock().take());
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the state writer panicked");
        }
    }

    fn send(&self, message: Message) {
        // A writer that has stopped has said so in its progress.
        if let Some(queue) = &*self.queue.lock() {
            let _ = queue.send(message);
        }
    }

    async fn wait_for(&self, condition: impl Fn(&Progress) -> bool) -> Result<(), StoreError> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.failed.is_some() || condition(progress)).await;
        match reached.map_err(|_| stopped())?.failed.clone() {
            Some(why) => Err(StoreError::Unavailable { why }),
            None => Ok(()),
        }
    }
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.stop();
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable { why: "the state writer has stopped".into() }
}

fn step_bytes(step: &Step) -> usize {
    match step {
        Step::Changes(changes) => weight(changes),
        Step::Compact(_) => 0,
    }
}

struct Worker {
    state: Arc<RedbState>,
    progress: Arc<watch::Sender<Progress>>,
    undurable_bytes: usize,
    /// Since when something written is not durable.
    dirty_since: Option<Instant>,
}

impl Worker {
    fn run(mut self, messages: &Receiver<Message>) {
        if let Err(error) = self.work(messages) {
            tracing::error!(%error, "writing the state failed; this server stops applying");
            self.progress.send_modify(|progress| progress.failed = Some(error.to_string()));
        }
    }

    fn work(&mut self, messages: &Receiver<Message>) -> Result<(), StoreError> {
        loop {
            let wait = self.dirty_since.map(|since| DURABLE_EVERY.saturating_sub(since.elapsed()));
            let first = match wait {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => messages.recv_timeout(wait),
            };
            let (mut writes, mut last, mut ended) = (Vec::new(), None, false);
            match first {
                Ok(Message::Write(write)) => writes.push(write),
                Ok(other) => last = Some(other),
                Err(RecvTimeoutError::Timeout) => last = Some(Message::Durable),
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            // One commit for all that comes within a moment, up to something that must not be overtaken: nobody waits for
            // a write, and a commit costs more than what it writes.
            let (until, mut bytes) = (Instant::now() + GATHER, 0);
            while last.is_none() && !ended && bytes < DURABLE_BYTES {
                match messages.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Message::Write(write)) => {
                        bytes += write.bytes;
                        writes.push(write);
                    }
                    Ok(other) => last = Some(other),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => ended = true,
                }
            }
            self.write(writes, ended || matches!(last, Some(Message::Durable)))?;
            if let Some(Message::Run(work)) = last {
                work(&self.state);
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn write(&mut self, writes: Vec<Write>, durable: bool) -> Result<(), StoreError> {
        if writes.is_empty() && (!durable || self.dirty_since.is_none()) {
            return Ok(());
        }
        let bytes: usize = writes.iter().map(|write| write.bytes).sum();
        let position = writes.last().map(|write| write.position);
        let note = writes.last().map(|write| write.note.clone());
        let (mut steps, mut told) = (Vec::new(), Vec::new());
        for write in writes {
            steps.extend(write.steps);
            told.push(write.written);
        }
        self.undurable_bytes += bytes;
        let since = *self.dirty_since.get_or_insert_with(Instant::now);
        let durable = durable || self.undurable_bytes > DURABLE_BYTES || since.elapsed() >= DURABLE_EVERY;
        self.state.commit(&steps, note.as_deref(), durable)?;
        if durable {
            (self.undurable_bytes, self.dirty_since) = (0, None);
        }
        for written in told {
            written();
        }
        self.progress.send_modify(|progress| {
            progress.written = position.unwrap_or(progress.written);
            progress.queue_bytes = progress.queue_bytes.saturating_sub(bytes);
            if durable {
                progress.durable = progress.written;
            }
        });
        Ok(())
    }
}
