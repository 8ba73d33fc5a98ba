//! One running pod.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use mizzen_shim_protocol::{ExitRecord, State, WasmStart};
use mizzen_shim_supervisor::clock;
use mizzen_shim_supervisor::log::{Log, Stream};
use nix::unistd::fchdir;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

use crate::cpu::{Cpu, metered};
use crate::data::{Charge, Data, Usage};
use crate::files::Files;
use crate::http;
use crate::names::Names;
use crate::outgoing::Outgoing;
use crate::output::Output;
use crate::program::Program;
use crate::sockets::Addresses;
use crate::ticker::Ticker;
use crate::trust::Trust;

/// 128 + SIGABRT, as a process that aborts.
const TRAPPED: i32 = 134;
const KILLED: i32 = 9;

/// The one who may change the working directory, which is how a directory is opened by its descriptor alone: a path
/// by way of `/proc` is closed to a process that cannot be dumped.
static WORKING_DIRECTORY: Mutex<()> = Mutex::new(());

pub(crate) struct Pod {
    spec: WasmStart,
    files: Arc<Files>,
    addresses: Addresses,
    names: Arc<Names>,
    trust: Arc<Trust>,
    engine: Engine,
    log: Arc<Mutex<Log>>,
    pub(crate) usage: Arc<Usage>,
    state: watch::Sender<State>,
    started_at: String,
    /// Take no new work.
    pub(crate) stop: CancellationToken,
    /// End at once.
    pub(crate) kill: CancellationToken,
    signal: OnceLock<i32>,
    /// Connections and instances.
    pub(crate) tasks: TaskTracker,
    main: TaskTracker,
}

impl Pod {
    /// # Errors
    /// When a directory cannot be opened or the port is taken.
    pub(crate) async fn start(
        engine: Engine,
        ticker: Arc<Ticker>,
        program: Arc<Program>,
        spec: WasmStart,
        log: File,
        preopens: Vec<File>,
    ) -> anyhow::Result<Arc<Self>> {
        let started_at = clock::now();
        let addresses = Addresses::new(&spec.addresses);
        let files = Arc::new(Files::new(&spec.preopens, preopens));
        let pod = Arc::new(Self {
            names: Arc::new(Names::new(&spec.resolv_conf, &spec.hosts, addresses.clone())),
            trust: Arc::new(Trust::new(&spec.env, Arc::clone(&files))),
            addresses,
            files,
            engine,
            log: Arc::new(Mutex::new(Log::from_file(log))),
            usage: Usage::new(spec.memory_limit, Cpu::new(ticker, spec.cpu_quota, spec.cpu_shares)),
            state: watch::Sender::new(State::Running { started_at: started_at.clone(), pid: None }),
            started_at,
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            signal: OnceLock::new(),
            tasks: TaskTracker::new(),
            main: TaskTracker::new(),
            spec,
        });
        // Now, so that a directory that cannot be opened is an error of the start.
        drop(pod.store()?);
        let running = Arc::clone(&pod);
        match &*program {
            Program::Http(proxy) => {
                if pod.spec.addresses.is_empty() {
                    bail!("a pod without address cannot serve HTTP");
                }
                let mut listeners = Vec::new();
                for address in pod.spec.addresses.iter().map(|ip| SocketAddr::new(*ip, pod.spec.http_port)) {
                    let listener = TcpListener::bind(address).await;
                    listeners.push(listener.with_context(|| format!("cannot listen on {address}"))?);
                }
                let serving = http::serve(Arc::clone(&pod), listeners, proxy.clone());
                pod.main.spawn(async move {
                    let ended = running.kill.clone().run_until_cancelled(serving).await;
                    running.finish(ended.map(Ok)).await;
                });
            }
            _ => {
                pod.main.spawn(async move {
                    let usage = Arc::clone(&running.usage);
                    let command = metered(&usage.cpu, running.command(&program));
                    let ended = running.kill.clone().run_until_cancelled(command).await;
                    running.finish(ended).await;
                });
            }
        }
        pod.main.close();
        Ok(pod)
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.state.borrow(), State::Running { .. })
    }

    pub(crate) fn replace_log(&self, file: File) {
        self.log.lock().replace(file);
    }

    /// Serving pods drain on the signals that ask for it; a command has no way to hear them and is interrupted.
    pub(crate) fn signal(&self, signal: i32, program_serves: bool) {
        match signal {
            libc::SIGKILL => {
                let _ = self.signal.set(signal);
                self.kill.cancel();
            }
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP if program_serves => self.stop.cancel(),
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP => {
                let _ = self.signal.set(signal);
                self.kill.cancel();
            }
            _ => {}
        }
    }

    /// Kills what runs; the pod's port is free afterwards.
    pub(crate) async fn end(&self) {
        self.signal(KILLED, false);
        self.main.wait().await;
    }

    /// The state of a new instance.
    pub(crate) fn store(&self) -> anyhow::Result<Store<Data>> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.spec.args).envs(&self.spec.env).allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true);
        wasi.stdout(Output::new(Arc::clone(&self.log), Stream::Stdout));
        wasi.stderr(Output::new(Arc::clone(&self.log), Stream::Stderr));
        let addresses = self.addresses.clone();
        wasi.socket_addr_check(move |address, usage| {
            let allowed = addresses.allow(address, usage);
            Box::pin(async move { allowed })
        });
        for (preopen, directory) in self.files.all() {
            let perms = if preopen.readonly { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            let _alone = WORKING_DIRECTORY.lock();
            fchdir(directory.as_fd())
                .map_err(io::Error::from)
                .map_err(anyhow::Error::from)
                .and_then(|()| Ok(wasi.preopened_dir(".", &preopen.target, perms).map(drop)?))
                .with_context(|| format!("open the directory for {}", preopen.target))?;
        }
        let data = Data {
            wasi: wasi.build_p1(),
            http: Default::default(),
            outgoing: Outgoing::new(self.addresses.clone(), Arc::clone(&self.names), Arc::clone(&self.trust)),
            addresses: self.addresses.clone(),
            names: Arc::clone(&self.names),
            charge: Charge::new(Arc::clone(&self.usage)),
        };
        let mut store = Store::new(&self.engine, data);
        store.limiter(|data| &mut data.charge);
        store.set_epoch_deadline(1);
        // Others get their turn, a kill is noticed, and a pod that has used up its quota is held.
        store.epoch_deadline_callback(|context| Ok(UpdateDeadline::Yield(context.data().charge.usage().cpu.turn())));
        Ok(store)
    }

    async fn command(&self, program: &Program) -> wasmtime::Result<()> {
        let mut store = self.store().map_err(wasmtime::Error::from_anyhow)?;
        match program {
            Program::Command(command) => {
                let command = command.instantiate_async(&mut store).await?;
                let result = command.wasi_cli_run().call_run(&mut store).await?;
                result.map_err(|()| wasmtime::Error::from(I32Exit(1)))?;
            }
            Program::Module(module) => {
                let instance = module.instantiate_async(&mut store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                start.call_async(&mut store, ()).await?;
            }
            Program::Http(_) => wasmtime::bail!("a component that serves is no command"),
        }
        Ok(())
    }

    /// Writes to the pod's log why an instance ended.
    pub(crate) fn complain(&self, error: &wasmtime::Error) {
        let text = format!("{}\n", explain(error));
        // As in `Output`: a full disk ends no pod.
        let _ = self.log.lock().write(Stream::Stderr, text.as_bytes());
    }

    async fn finish(&self, ended: Option<wasmtime::Result<()>>) {
        // Whatever a kill left: connections and instances end with it.
        if ended.is_none() {
            self.tasks.close();
            self.tasks.wait().await;
        }
        let _ = self.log.lock().finish();
        let record = self.record(ended);
        self.state.send_replace(State::Exited(record));
    }

    fn record(&self, ended: Option<wasmtime::Result<()>>) -> ExitRecord {
        let of = |code: i32, reason: &str, message: String| ExitRecord {
            code,
            signal: None,
            reason: reason.into(),
            message,
            started_at: self.started_at.clone(),
            finished_at: clock::now(),
        };
        match ended {
            None => {
                let signal = self.signal.get().copied().unwrap_or(KILLED);
                ExitRecord { signal: Some(signal), ..of(128 + signal, "Error", String::new()) }
            }
            Some(Ok(())) => of(0, "Completed", String::new()),
            Some(Err(error)) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(0)) => of(0, "Completed", String::new()),
                Some(I32Exit(code)) => of(*code, "Error", String::new()),
                None if self.usage.exceeded() => {
                    ExitRecord { signal: Some(KILLED), ..of(128 + KILLED, "OOMKilled", root_cause(&error)) }
                }
                None => of(TRAPPED, "WasmTrap", explain(&error)),
            },
        }
    }
}

/// A trap and where it happened, the innermost frames first.
fn explain(error: &wasmtime::Error) -> String {
    const FRAMES: usize = 8;
    let cause = root_cause(error);
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>().map(|trace| {
        let names = trace.frames().iter().take(FRAMES).map(|frame| {
            let name = frame.symbols().iter().find_map(|symbol| symbol.name()).or(frame.func_name());
            format!("  at {}", name.map_or_else(|| format!("function {}", frame.func_index()), str::to_owned))
        });
        names.collect::<Vec<_>>().join("\n")
    });
    match frames.filter(|frames| !frames.is_empty()) {
        Some(frames) => format!("{cause}\n{frames}"),
        None => cause,
    }
}

fn root_cause(error: &wasmtime::Error) -> String {
    error.root_cause().to_string()
}
