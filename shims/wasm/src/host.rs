//! The process that hosts the pods of one namespace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context;
use mizzen_shim_protocol::frame::control;
use mizzen_shim_protocol::{Call, Decoder, PROTOCOL_VERSION, Reply, Request, State, WasmStart, files};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::pod::Pod;
use crate::program::Program;
use crate::receive::receive;
use crate::ticker::Ticker;
use crate::{engine, privileges};

/// How long a host waits for its first pod, whose agent may have been killed.
const FIRST: Duration = Duration::from_secs(60);

/// Threads for what guests do with files; the cgroup bounds all threads of a host.
const BLOCKING: usize = 64;

/// Listens below `directory`, goes on as a daemon without privileges, and ends when it has had no pod for as long as `stay`.
pub(crate) fn run(directory: &Path, stay: Duration, own_network: bool) -> anyhow::Result<()> {
    // The whole path may be longer than a socket address.
    std::env::set_current_dir(directory).context("enter the directory")?;
    match fs::remove_file(files::SOCKET) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err).context("remove the old socket"),
        _ => {}
    }
    let listener = UnixListener::bind(files::SOCKET).context("listen")?;
    listener.set_nonblocking(true)?;
    // The machine's own namespace stays as it is.
    let bind_low_ports = own_network && privileges::open_low_ports();
    std::env::set_current_dir("/")?;
    mizzen_shim_supervisor::daemon::daemonise().context("become a daemon")?;
    privileges::leave_root(bind_low_ports).context("give up privileges")?;
    let filter = tracing_subscriber::EnvFilter::new("warn,wasmtime_wasi_http=error");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();

    let engine = engine::host()?;
    let ticker = Ticker::start(engine.clone()).context("start the clock")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(BLOCKING).enable_all().build()?;
    runtime.block_on(serve(Host::new(engine, ticker, stay), listener))
}

async fn serve(host: Arc<Host>, listener: UnixListener) -> anyhow::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let first = tokio::time::sleep(FIRST);
    tokio::pin!(first);
    loop {
        tokio::select! {
            () = host.done.cancelled() => return Ok(()),
            () = &mut first, if !first.is_elapsed() => host.end_if_empty(),
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accept")?;
                let host = Arc::clone(&host);
                tokio::spawn(async move {
                    if let Err(err) = host.answer(stream).await {
                        tracing::debug!(%err, "an agent's connection broke");
                    }
                });
            }
        }
    }
}

struct Running {
    pod: Arc<Pod>,
    program: Arc<Program>,
}

enum Slot {
    /// Until the sender is dropped.
    Starting(watch::Receiver<()>),
    Running(Arc<Running>),
}

#[derive(Default)]
struct Pods {
    known: HashMap<String, Slot>,
    /// How many there have been.
    starts: u64,
    programs: HashMap<String, Weak<Program>>,
}

struct Host {
    engine: Engine,
    ticker: Arc<Ticker>,
    stay: Duration,
    pods: Mutex<Pods>,
    done: CancellationToken,
}

/// An id that is being started is nobody else's, whatever becomes of the start.
struct Reserved<'a> {
    host: &'a Host,
    id: &'a str,
    started: Option<Running>,
    _over: watch::Sender<()>,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut pods = self.host.pods.lock();
        match self.started.take() {
            Some(running) => pods.known.insert(self.id.to_owned(), Slot::Running(Arc::new(running))),
            None => pods.known.remove(self.id),
        };
    }
}

impl Host {
    fn new(engine: Engine, ticker: Arc<Ticker>, stay: Duration) -> Arc<Self> {
        Arc::new(Self { engine, ticker, stay, pods: Mutex::default(), done: CancellationToken::new() })
    }

    /// The pod, after a start that is under way.
    async fn find(&self, id: &str) -> Option<Arc<Running>> {
        loop {
            let mut over = match self.pods.lock().known.get(id)? {
                Slot::Running(running) => return Some(Arc::clone(running)),
                Slot::Starting(over) => over.clone(),
            };
            // Nothing is ever sent: it ends with its sender.
            let _ = over.changed().await;
        }
    }

    /// # Errors
    /// When the host ends: whoever asks has to start another.
    fn reserve<'a>(&'a self, id: &'a str) -> io::Result<Option<Reserved<'a>>> {
        let mut pods = self.pods.lock();
        // Decided with the pods locked, so that nothing starts that would end at once.
        if self.done.is_cancelled() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Entry::Vacant(vacant) = pods.known.entry(id.to_owned()) else { return Ok(None) };
        let (over, starting) = watch::channel(());
        vacant.insert(Slot::Starting(starting));
        pods.starts += 1;
        Ok(Some(Reserved { host: self, id, started: None, _over: over }))
    }

    async fn answer(self: &Arc<Self>, mut stream: UnixStream) -> io::Result<()> {
        let mut decoder = Decoder::default();
        while let Some((frame, files)) = receive(&stream, &mut decoder).await? {
            let request: Request = frame.message().map_err(io::Error::other)?;
            let watched = matches!(request.call, Call::Watch);
            let removed = matches!(request.call, Call::Remove | Call::Start { .. });
            let reply = match PROTOCOL_VERSION.understands(request.version) {
                true => self.call(&request.container, request.call, files).await?,
                false => Reply::Version { version: PROTOCOL_VERSION },
            };
            send(&mut stream, &reply).await?;
            if watched && matches!(reply, Reply::State { .. }) {
                return self.watch(&request.container, stream, reply).await;
            }
            if removed {
                self.end_if_empty();
            }
        }
        Ok(())
    }

    /// # Errors
    /// When no answer is the answer.
    async fn call(&self, id: &str, call: Call, files: Vec<File>) -> io::Result<Reply> {
        let call = match call {
            Call::Start { spec } => return self.start(id, spec, files).await,
            Call::Remove => return Ok(self.remove(id).await),
            call => call,
        };
        let Some(running) = self.find(id).await else { return Ok(Reply::NotFound) };
        let Running { pod, program } = &*running;
        Ok(match call {
            Call::State | Call::Watch => Reply::State { state: pod.state().borrow().clone() },
            Call::Signal { .. } | Call::Stats if !pod.is_running() => Reply::NotRunning,
            Call::Signal { signal } => {
                pod.signal(signal, matches!(**program, Program::Http(_)));
                Reply::Done
            }
            Call::Stats => Reply::Stats { memory: pod.usage.memory(), cpu: pod.usage.cpu.used() },
            Call::ReopenLog => match files.into_iter().next() {
                Some(file) => {
                    pod.replace_log(file);
                    Reply::Done
                }
                None => Reply::Failed { message: "no log file came along".into() },
            },
            Call::Exec { .. } | Call::Attach { .. } => {
                Reply::Unsupported { why: "a Wasm pod has no processes and no open standard input".into() }
            }
            Call::Start { .. } | Call::Remove => Reply::Failed { message: "answered before".into() },
        })
    }

    async fn start(&self, id: &str, spec: serde_json::Value, files: Vec<File>) -> io::Result<Reply> {
        let mut reserved = loop {
            if let Some(reserved) = self.reserve(id)? {
                break reserved;
            }
            // One that was started before, or is being started for somebody else, is not started again.
            if let Some(running) = self.find(id).await {
                return Ok(Reply::State { state: running.pod.state().borrow().clone() });
            }
        };
        Ok(match self.try_start(spec, files).await {
            Ok(running) => {
                let state = running.pod.state().borrow().clone();
                reserved.started = Some(running);
                Reply::State { state }
            }
            Err(error) => Reply::Failed { message: crate::one_line(&error) },
        })
    }

    async fn try_start(&self, spec: serde_json::Value, files: Vec<File>) -> anyhow::Result<Running> {
        let spec: WasmStart = serde_json::from_value(spec).context("read the pod")?;
        let mut files = files.into_iter();
        let (artifact, log) = files.next().zip(files.next()).context("the program or the log did not come along")?;
        let preopens: Vec<_> = files.collect();
        anyhow::ensure!(preopens.len() == spec.preopens.len(), "{} directories came along", preopens.len());
        let program = self.program(&spec.program, artifact)?;
        let (engine, ticker) = (self.engine.clone(), Arc::clone(&self.ticker));
        let pod = Pod::start(engine, ticker, Arc::clone(&program), spec, log, preopens).await?;
        Ok(Running { pod, program })
    }

    /// Loads a program once for all pods that run it.
    fn program(&self, name: &str, mut artifact: File) -> anyhow::Result<Arc<Program>> {
        if let Some(program) = self.pods.lock().programs.get(name).and_then(Weak::upgrade) {
            return Ok(program);
        }
        let mut bytes = Vec::new();
        artifact.read_to_end(&mut bytes).context("read the program")?;
        // SAFETY: only root's agent can open the socket, and it has authenticated the file.
        let program = Arc::new(unsafe { Program::load(&self.engine, &bytes) }.context("load the program")?);
        let mut pods = self.pods.lock();
        pods.programs.retain(|_, program| program.strong_count() > 0);
        pods.programs.insert(name.to_owned(), Arc::downgrade(&program));
        Ok(program)
    }

    async fn remove(&self, id: &str) -> Reply {
        if let Some(running) = self.find(id).await {
            running.pod.end().await;
            self.pods.lock().known.remove(id);
        }
        Reply::Done
    }

    /// The next pod starts the sooner when it comes before the host has gone.
    fn end_if_empty(self: &Arc<Self>) {
        let starts = {
            let pods = self.pods.lock();
            if !pods.known.is_empty() {
                return;
            }
            pods.starts
        };
        let host = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(host.stay).await;
            let pods = host.pods.lock();
            if pods.known.is_empty() && pods.starts == starts {
                host.done.cancel();
            }
        });
    }

    /// Tells the state whenever it changes, to its end.
    async fn watch(&self, id: &str, mut stream: UnixStream, told: Reply) -> io::Result<()> {
        let Some(running) = self.find(id).await else { return Ok(()) };
        let mut states = running.pod.state();
        drop(running);
        let mut told = told;
        loop {
            let state = states.borrow_and_update().clone();
            let ended = matches!(state, State::Exited(_));
            let reply = Reply::State { state };
            if reply != told {
                send(&mut stream, &reply).await?;
                told = reply;
            }
            if ended || states.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn send(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    stream.write_all(&control(reply).map_err(io::Error::other)?).await
}
