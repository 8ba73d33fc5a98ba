//! The inert parts of WASI 0.2: what runtimes of ordinary languages import, with nothing behind it.
//!
//! No variables, arguments or directories; the standard streams are the log; exit traps; a sleep that would outlast the
//! call's deadline ends the call at once. Functions of things that no guest can get hold of (files) trap.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{StoreContextMut, bail};

use super::data::Data;
use super::imports::random_bytes;
use crate::artifact::{Artifact, Code, Interface};
use crate::plugin::grants::INERT;

/// The most that a guest is told it may write at once.
const PERMIT: u64 = 64 << 10;
/// Random bytes at a time.
const RANDOM: u64 = 64 << 10;

/// The beginning of all monotonic clocks.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds.
pub(crate) fn monotonic() -> u64 {
    u64::try_from(BEGINNING.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// A guest said that it ends.
#[derive(Debug, thiserror::Error)]
#[error("the plugin called exit with status {0}")]
pub(crate) struct Exit(pub(crate) u32);

/// A guest is, or wanted to sleep, beyond the deadline of its call.
#[derive(Debug, thiserror::Error)]
#[error("the plugin's time is up")]
pub(crate) struct Late;

struct Stdin;
/// A standard stream; the representation says which.
struct Stdout;
const OUT: u32 = 1;
const ERR: u32 = 2;
struct IoError;
struct Pollable {
    ready: Instant,
}
/// Of what no guest can get hold of.
struct Nothing;

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

type Streamed<T> = wasmtime::Result<(Result<T, StreamError>,)>;
type Store<'a> = StoreContextMut<'a, Data>;

/// Defines what of WASI the artifact imports, under the version that it asks for.
///
/// # Errors
/// When two definitions clash.
pub(super) fn link(linker: &mut Linker<Data>, artifact: &Artifact) -> wasmtime::Result<()> {
    let Code::Component(component) = &artifact.code else { return Ok(()) };
    let engine = linker.engine().clone();
    linker.allow_shadowing(true);
    for (name, item) in component.component_type().imports(&engine) {
        let interface = Interface::of(name).name;
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !INERT.contains(&interface) {
            continue;
        }
        let mut defined = linker.instance(name)?;
        for (function, item) in instance.exports(&engine) {
            if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
                let called = format!("{name}#{function}");
                defined.func_new(function, move |_, _, _, _| bail!("{called} does nothing in a plugin"))?;
            }
        }
        define(&mut defined, interface)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn define(to: &mut LinkerInstance<'_, Data>, interface: &str) -> wasmtime::Result<()> {
    match interface {
        "wasi:cli/environment" => {
            to.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
            to.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
            to.func_wrap("initial-cwd", |_, ()| Ok((None::<String>,)))
        }
        "wasi:cli/exit" => {
            to.func_wrap("exit", |_, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
                Err(Exit(u32::from(status.is_err())).into())
            })?;
            to.func_wrap("exit-with-code", |_, (code,): (u8,)| -> wasmtime::Result<()> { Err(Exit(code.into()).into()) })
        }
        "wasi:cli/stdin" => to.func_wrap("get-stdin", |_, ()| Ok((Resource::<Stdin>::new_own(0),))),
        "wasi:cli/stdout" => to.func_wrap("get-stdout", |_, ()| Ok((Resource::<Stdout>::new_own(OUT),))),
        "wasi:cli/stderr" => to.func_wrap("get-stderr", |_, ()| Ok((Resource::<Stdout>::new_own(ERR),))),
        "wasi:cli/terminal-input" => nothing(to, "terminal-input"),
        "wasi:cli/terminal-output" => nothing(to, "terminal-output"),
        "wasi:cli/terminal-stdin" => to.func_wrap("get-terminal-stdin", |_, ()| Ok((None::<Resource<Nothing>>,))),
        "wasi:cli/terminal-stdout" => to.func_wrap("get-terminal-stdout", |_, ()| Ok((None::<Resource<Nothing>>,))),
        "wasi:cli/terminal-stderr" => to.func_wrap("get-terminal-stderr", |_, ()| Ok((None::<Resource<Nothing>>,))),
        "wasi:filesystem/preopens" => to.func_wrap("get-directories", |_, ()| Ok((Vec::<(Resource<Nothing>, String)>::new(),))),
        "wasi:filesystem/types" => {
            nothing(to, "descriptor")?;
            nothing(to, "directory-entry-stream")
        }
        "wasi:random/random" => random(to, "get-random-bytes", "get-random-u64"),
        "wasi:random/insecure" => random(to, "get-insecure-random-bytes", "get-insecure-random-u64"),
        "wasi:random/insecure-seed" => {
            to.func_wrap("insecure-seed", |_, ()| Ok(((rand::random::<u64>(), rand::random::<u64>()),)))
        }
        "wasi:clocks/monotonic-clock" => monotonic_clock(to),
        "wasi:clocks/wall-clock" => {
            to.func_wrap("now", |store: Store<'_>, ()| {
                let now = store.data().shared.clock().now();
                let seconds = u64::try_from(now.as_second()).unwrap_or(0);
                Ok((Datetime { seconds, nanoseconds: u32::try_from(now.subsec_nanosecond()).unwrap_or(0) },))
            })?;
            to.func_wrap("resolution", |_, ()| Ok((Datetime { seconds: 0, nanoseconds: 1 },)))
        }
        "wasi:io/error" => to.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(())),
        "wasi:io/poll" => poll(to),
        "wasi:io/streams" => streams(to),
        _ => Ok(()),
    }
}

fn nothing(to: &mut LinkerInstance<'_, Data>, name: &str) -> wasmtime::Result<()> {
    to.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))
}

fn random(to: &mut LinkerInstance<'_, Data>, bytes: &str, number: &str) -> wasmtime::Result<()> {
    to.func_wrap(bytes, |_, (count,): (u64,)| {
        if count > RANDOM {
            bail!("{count} random bytes at once, at most {RANDOM} are given");
        }
        Ok((random_bytes(usize::try_from(count).unwrap_or(0)),))
    })?;
    to.func_wrap(number, |_, ()| Ok((rand::random::<u64>(),)))
}

fn monotonic_clock(to: &mut LinkerInstance<'_, Data>) -> wasmtime::Result<()> {
    to.func_wrap("now", |_, ()| Ok((monotonic(),)))?;
    to.func_wrap("resolution", |_, ()| Ok((1_u64,)))?;
    to.func_wrap("subscribe-instant", |store, (when,): (u64,)| {
        pollable(store, Duration::from_nanos(when.saturating_sub(monotonic())))
    })?;
    to.func_wrap("subscribe-duration", |store, (time,): (u64,)| pollable(store, Duration::from_nanos(time)))
}

fn pollable(mut store: Store<'_>, after: Duration) -> wasmtime::Result<(Resource<Pollable>,)> {
    let now = Instant::now();
    // Later than any deadline is as good as never.
    let ready = now.checked_add(after).unwrap_or(now + Duration::from_secs(1 << 30));
    Ok((store.data_mut().table.push(Pollable { ready })?,))
}

/// For what the host does piece by piece, while no epoch interrupts it.
///
/// # Errors
/// When the call should have ended.
pub(crate) fn in_time(data: &Data) -> wasmtime::Result<()> {
    wait(data, Instant::now())
}

/// Holds the thread until then.
///
/// # Errors
/// When the call ends before.
pub(crate) fn wait(data: &Data, until: Instant) -> wasmtime::Result<()> {
    if until > data.deadline {
        return Err(Late.into());
    }
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::park_timeout(left);
    }
}

fn poll(to: &mut LinkerInstance<'_, Data>) -> wasmtime::Result<()> {
    to.resource("pollable", ResourceType::host::<Pollable>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Pollable>::new_own(rep))?;
        Ok(())
    })?;
    to.func_wrap("[method]pollable.ready", |store: Store<'_>, (of,): (Resource<Pollable>,)| {
        Ok((store.data().table.get(&of)?.ready <= Instant::now(),))
    })?;
    to.func_wrap("[method]pollable.block", |store: Store<'_>, (of,): (Resource<Pollable>,)| {
        wait(store.data(), store.data().table.get(&of)?.ready)
    })?;
    to.func_wrap("poll", |store: Store<'_>, (of,): (Vec<Resource<Pollable>>,)| {
        let data = store.data();
        let times = of.iter().map(|of| Ok(data.table.get(of)?.ready)).collect::<wasmtime::Result<Vec<_>>>()?;
        let Some(first) = times.iter().min() else { bail!("poll of nothing") };
        wait(data, *first)?;
        let now = Instant::now();
        let ready = (0_u32..).zip(&times).filter(|(_, at)| **at <= now).map(|(at, _)| at);
        Ok((ready.collect::<Vec<_>>(),))
    })
}

fn streams(to: &mut LinkerInstance<'_, Data>) -> wasmtime::Result<()> {
    to.resource("input-stream", ResourceType::host::<Stdin>(), |_, _| Ok(()))?;
    to.resource("output-stream", ResourceType::host::<Stdout>(), |_, _| Ok(()))?;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        to.func_wrap(name, |_, _: (Resource<Stdin>, u64)| -> Streamed<Vec<u8>> { Ok((Err(StreamError::Closed),)) })?;
    }
    for name in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        to.func_wrap(name, |_, _: (Resource<Stdin>, u64)| -> Streamed<u64> { Ok((Err(StreamError::Closed),)) })?;
    }
    to.func_wrap("[method]input-stream.subscribe", |store, _: (Resource<Stdin>,)| pollable(store, Duration::ZERO))?;
    to.func_wrap("[method]output-stream.subscribe", |store, _: (Resource<Stdout>,)| pollable(store, Duration::ZERO))?;
    to.func_wrap("[method]output-stream.check-write", |_, _: (Resource<Stdout>,)| -> Streamed<u64> { Ok((Ok(PERMIT),)) })?;
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        to.func_wrap(name, |_, _: (Resource<Stdout>,)| -> Streamed<()> { Ok((Ok(()),)) })?;
    }
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        to.func_wrap(name, |mut store: Store<'_>, (of, bytes): (Resource<Stdout>, Vec<u8>)| -> Streamed<()> {
            let data = store.data_mut();
            let lines = if of.rep() == ERR { &mut data.stderr } else { &mut data.stdout };
            lines.write(&data.shared, &bytes);
            Ok((Ok(()),))
        })?;
    }
    Ok(())
}
