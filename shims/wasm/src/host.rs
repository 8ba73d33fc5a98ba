//! The process that hosts the pods of one namespace.

use std::collections::HashMap;
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
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::pod::Pod;
use crate::program::Program;
use crate::receive::receive;
use crate::{engine, privileges};

/// How long a host waits for its first pod, whose agent may have been killed.
const FIRST: Duration = Duration::from_secs(60);

/// Listens below `directory`, goes on as a daemon without privileges, and ends with its last pod.
pub(crate) fn run(directory: &Path, own_network: bool) -> anyhow::Result<()> {
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
    let ticking = engine.clone();
    std::thread::Builder::new().name("epochs".into()).spawn(move || tick(&ticking))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(Host::new(engine), listener))
}

#[expect(clippy::disallowed_methods, reason = "the epochs' own thread: it must tick while every worker is taken by guests")]
fn tick(engine: &Engine) {
    loop {
        std::thread::sleep(engine::TICK);
        engine.increment_epoch();
    }
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

#[derive(Default)]
struct Pods {
    known: HashMap<String, Arc<Running>>,
    /// Starts under way.
    starting: usize,
    programs: HashMap<String, Weak<Program>>,
}

struct Host {
    engine: Engine,
    pods: Mutex<Pods>,
    done: CancellationToken,
}

impl Host {
    fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self { engine, pods: Mutex::default(), done: CancellationToken::new() })
    }

    async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut decoder = Decoder::default();
        while let Some((frame, files)) = receive(&stream, &mut decoder).await? {
            let request: Request = frame.message().map_err(io::Error::other)?;
            let watched = matches!(request.call, Call::Watch);
            let removed = matches!(request.call, Call::Remove | Call::Start { .. });
            let reply = match PROTOCOL_VERSION.understands(request.version) {
                true => self.call(&request.container, request.call, files).await,
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

    async fn call(&self, id: &str, call: Call, files: Vec<File>) -> Reply {
        let found = self.pods.lock().known.get(id).cloned();
        let running = match (call, found) {
            (Call::Start { .. }, Some(running)) => return Reply::State { state: running.pod.state().borrow().clone() },
            (Call::Start { spec }, None) => return self.start(id, spec, files).await,
            (Call::Remove, found) => return self.remove(id, found).await,
            (_, None) => return Reply::NotFound,
            (call, Some(running)) => (call, running),
        };
        let (call, Running { pod, program }) = (running.0, &*running.1);
        match call {
            Call::State | Call::Watch => Reply::State { state: pod.state().borrow().clone() },
            Call::Signal { .. } | Call::Stats if !pod.is_running() => Reply::NotRunning,
            Call::Signal { signal } => {
                pod.signal(signal, matches!(**program, Program::Http(_)));
                Reply::Done
            }
            Call::Stats => {
                Reply::Stats { memory: pod.usage.memory(), cpu: pod.usage.cpu.load(std::sync::atomic::Ordering::Relaxed) }
            }
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
        }
    }

    async fn start(&self, id: &str, spec: serde_json::Value, files: Vec<File>) -> Reply {
        self.pods.lock().starting += 1;
        let started = self.try_start(spec, files).await;
        let mut pods = self.pods.lock();
        pods.starting -= 1;
        match started {
            Ok(running) => {
                let state = running.pod.state().borrow().clone();
                pods.known.insert(id.to_owned(), Arc::new(running));
                Reply::State { state }
            }
            Err(error) => Reply::Failed { message: crate::one_line(&error) },
        }
    }

    async fn try_start(&self, spec: serde_json::Value, files: Vec<File>) -> anyhow::Result<Running> {
        let spec: WasmStart = serde_json::from_value(spec).context("read the pod")?;
        let mut files = files.into_iter();
        let (artifact, log) = files.next().zip(files.next()).context("the program or the log did not come along")?;
        let preopens: Vec<_> = files.collect();
        anyhow::ensure!(preopens.len() == spec.preopens.len(), "{} directories came along", preopens.len());
        let program = self.program(&spec.program, artifact)?;
        let pod = Pod::start(self.engine.clone(), Arc::clone(&program), spec, log, preopens).await?;
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

    async fn remove(&self, id: &str, found: Option<Arc<Running>>) -> Reply {
        if let Some(running) = found {
            running.pod.end().await;
            self.pods.lock().known.remove(id);
        }
        Reply::Done
    }

    fn end_if_empty(&self) {
        let pods = self.pods.lock();
        if pods.known.is_empty() && pods.starting == 0 {
            self.done.cancel();
        }
    }

    /// Tells the state whenever it changes, to its end.
    async fn watch(&self, id: &str, mut stream: UnixStream, told: Reply) -> io::Result<()> {
        let Some(running) = self.pods.lock().known.get(id).cloned() else { return Ok(()) };
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
