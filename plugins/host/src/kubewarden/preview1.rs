//! The inert parts of WASI preview 1 (`wasi_snapshot_preview1`), which policies of most languages import.
//!
//! No variables or directories; a program's arguments and standard streams are what is asked and answered, other guests'
//! streams are the log. A sleep that would outlast the call's deadline ends the call at once.

use std::time::{Duration, Instant};

use rand::RngCore;
use wasmtime::{Caller, Linker, Module, Val, bail};

use super::memory::{self, number, read, slice, write};
use crate::guest::Data;
use crate::guest::wasi::{Exit, in_time, monotonic, wait};

const MODULE: &str = "wasi_snapshot_preview1";

/// Functions that do what they say, as far as there is something to do it with.
const LIVING: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_filestat_get",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// Functions of what no policy can get hold of: files, directories, sockets, signals.
const INERT: &[&str] = &[
    "fd_advise",
    "fd_allocate",
    "fd_datasync",
    "fd_fdstat_set_rights",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_pwrite",
    "fd_readdir",
    "fd_renumber",
    "fd_sync",
    "fd_tell",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "proc_raise",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

// Numbers of errors in WASI preview 1.
const SUCCESS: u32 = 0;
const BADF: u32 = 8;
const INVAL: u32 = 28;
const NOSPC: u32 = 51;
const SPIPE: u32 = 70;
const NOTCAPABLE: u32 = 76;

const STDIN: u32 = 0;
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

const REALTIME: u32 = 0;

/// Buffers of one read or write, and subscriptions of one poll. They are numbers of the guest's, and no epoch interrupts what is
/// done for them: those that a read or write leaves out are the next one's, as WASI allows.
const BUFFERS: u32 = 1024;
/// Bytes of one write to the log, and of random numbers between two looks at the clock.
const PIECE: usize = 64 << 10;

/// A program's own name, as Kubewarden calls all of them.
const NAME: &str = "policy.wasm";

type Guest<'a> = Caller<'a, Data>;

pub(super) fn offers(name: &str) -> bool {
    LIVING.contains(&name) || INERT.contains(&name)
}

pub(super) fn link(linker: &mut Linker<Data>, module: &Module) -> wasmtime::Result<()> {
    arguments(linker)?;
    clocks(linker)?;
    streams(linker)?;
    linker.func_wrap(MODULE, "proc_exit", |status: u32| -> wasmtime::Result<()> { Err(Exit(status).into()) })?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker.func_wrap(MODULE, "random_get", |mut guest: Guest<'_>, at: u32, size: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        for piece in slice(bytes, at, size as usize)?.chunks_mut(PIECE) {
            in_time(data)?;
            rand::rng().fill_bytes(piece);
        }
        wasmtime::Result::Ok(SUCCESS)
    })?;
    for import in module.imports().filter(|import| import.module() == MODULE && INERT.contains(&import.name())) {
        let Some(function) = import.ty().func().cloned() else { continue };
        let name = import.name().to_owned();
        // A module may import one function twice.
        linker.allow_shadowing(true);
        linker.func_new(MODULE, import.name(), function, move |_, _, results| {
            let [result] = results else { bail!("it imports {name} with another type than WASI's") };
            *result = Val::I32(NOTCAPABLE.cast_signed());
            Ok(())
        })?;
        linker.allow_shadowing(false);
    }
    Ok(())
}

/// Programs have two, other guests none.
fn list(data: &Data) -> Vec<&'static str> {
    if data.talk.is_program { vec![NAME, data.talk.operation] } else { Vec::new() }
}

fn arguments(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "args_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        let all = list(data);
        let whole: usize = all.iter().map(|argument| argument.len() + 1).sum();
        write(bytes, count, &(all.len() as u32).to_le_bytes())?;
        write(bytes, size, &(whole as u32).to_le_bytes())?;
        wasmtime::Result::Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "args_get", |mut guest: Guest<'_>, mut pointers: u32, mut at: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        for argument in list(data) {
            write(bytes, pointers, &at.to_le_bytes())?;
            write(bytes, at, argument.as_bytes())?;
            let end = at.saturating_add(argument.len() as u32);
            write(bytes, end, &[0])?;
            (pointers, at) = (pointers.saturating_add(4), end.saturating_add(1));
        }
        wasmtime::Result::Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "environ_sizes_get", |mut guest: Guest<'_>, count: u32, size: u32| {
        let (bytes, _) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        write(bytes, count, &[0; 4])?;
        write(bytes, size, &[0; 4])?;
        wasmtime::Result::Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "environ_get", |_: u32, _: u32| SUCCESS)?;
    Ok(())
}

/// Nanoseconds.
fn now(data: &Data, clock: u32) -> u64 {
    match clock {
        REALTIME => u64::try_from(data.shared.clock().now().as_nanosecond()).unwrap_or(0),
        _ => monotonic(),
    }
}

fn clocks(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "clock_res_get", |mut guest: Guest<'_>, _clock: u32, at: u32| {
        let (bytes, _) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        write(bytes, at, &1_u64.to_le_bytes())?;
        wasmtime::Result::Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "clock_time_get", |mut guest: Guest<'_>, clock: u32, _precision: u64, at: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        write(bytes, at, &now(data, clock).to_le_bytes())?;
        wasmtime::Result::Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "poll_oneoff", |mut guest: Guest<'_>, asked: u32, events: u32, count: u32, happened: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        if !(1..=BUFFERS).contains(&count) {
            return wasmtime::Result::Ok(INVAL);
        }
        let polled = (0..count).map(|n| Polled::read(bytes, asked.saturating_add(n.saturating_mul(Polled::SIZE)), data));
        let polled = polled.collect::<wasmtime::Result<Vec<_>>>()?;
        if let Some(first) = polled.iter().map(|polled| polled.ready).min() {
            wait(data, first)?;
        }
        let now = Instant::now();
        let mut ready = 0;
        for polled in polled.iter().filter(|polled| polled.ready <= now) {
            let mut event = [0; 32];
            event[..8].copy_from_slice(&polled.user);
            event[10] = polled.kind;
            write(bytes, events.saturating_add(ready * 32), &event)?;
            ready += 1;
        }
        write(bytes, happened, &ready.to_le_bytes())?;
        Ok(SUCCESS)
    })?;
    Ok(())
}

/// A subscription of `poll_oneoff`.
struct Polled {
    user: [u8; 8],
    /// 0 is a clock; what streams are asked for is always there.
    kind: u8,
    ready: Instant,
}

impl Polled {
    const SIZE: u32 = 48;

    fn read(bytes: &[u8], at: u32, data: &Data) -> wasmtime::Result<Self> {
        let subscription = read(bytes, at, Self::SIZE)?;
        let long = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&subscription[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let kind = subscription[8];
        let mut ready = Instant::now();
        if kind == 0 {
            let (clock, timeout, is_absolute) = (number(subscription, 16)?, long(24), subscription[40] & 1);
            let after = if is_absolute == 1 { timeout.saturating_sub(now(data, clock)) } else { timeout };
            // Later than any deadline is as good as never.
            ready = ready.checked_add(Duration::from_nanos(after)).unwrap_or(ready + Duration::from_secs(1 << 30));
        }
        Ok(Self { user: long(0).to_le_bytes(), kind, ready })
    }
}

/// Where one of the buffers of a vectored read or write lies, and its size.
fn buffer(bytes: &[u8], all: u32, n: u32) -> wasmtime::Result<(u32, u32)> {
    let at = all.saturating_add(n.saturating_mul(8));
    Ok((number(bytes, at)?, number(bytes, at.saturating_add(4))?))
}

fn streams(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_write", |mut guest: Guest<'_>, file: u32, at: u32, count: u32, written: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        if ![STDOUT, STDERR].contains(&file) {
            return wasmtime::Result::Ok(BADF);
        }
        let mut sum = 0;
        for n in 0..count.min(BUFFERS) {
            let (at, size) = buffer(bytes, at, n)?;
            let mut text = read(bytes, at, size)?;
            if file == STDOUT && data.talk.is_program {
                // An answer has an end of its own.
                if !data.talk.write(text) {
                    return Ok(NOSPC);
                }
            } else {
                text = &text[..text.len().min(PIECE - sum)];
                let lines = if file == STDOUT { &mut data.stdout } else { &mut data.stderr };
                lines.write(&data.shared, text);
                if file == STDERR {
                    data.talk.complain(text);
                }
            }
            sum += text.len();
        }
        write(bytes, written, &(sum as u32).to_le_bytes())?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "fd_read", |mut guest: Guest<'_>, file: u32, at: u32, count: u32, taken: u32| {
        let (bytes, data) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        if file != STDIN {
            return wasmtime::Result::Ok(BADF);
        }
        let mut sum = 0;
        if data.talk.is_program {
            for n in 0..count.min(BUFFERS) {
                let (at, size) = buffer(bytes, at, n)?;
                let read = data.talk.take(slice(bytes, at, size as usize)?);
                sum += read;
                if read < size as usize {
                    break;
                }
            }
        }
        write(bytes, taken, &(sum as u32).to_le_bytes())?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "fd_close", |file: u32| if file <= STDERR { SUCCESS } else { BADF })?;
    linker.func_wrap(MODULE, "fd_seek", |file: u32, _by: i64, _from: u32, _at: u32| if file <= STDERR { SPIPE } else { BADF })?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |file: u32, _flags: u32| if file <= STDERR { SUCCESS } else { BADF })?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: u32, _: u32| BADF)?;
    // The kind of file, at byte 0 and 16, is 0: unknown, as of pipes. All rights, which there is nothing to use on.
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut guest: Guest<'_>, file: u32, at: u32| {
        let (bytes, _) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        if file > STDERR {
            return wasmtime::Result::Ok(BADF);
        }
        let mut stat = [0; 24];
        stat[8..16].fill(0xff);
        write(bytes, at, &stat)?;
        Ok(SUCCESS)
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut guest: Guest<'_>, file: u32, at: u32| {
        let (bytes, _) = memory::of(&mut guest)?.data_and_store_mut(&mut guest);
        if file > STDERR {
            return wasmtime::Result::Ok(BADF);
        }
        write(bytes, at, &[0; 64])?;
        Ok(SUCCESS)
    })?;
    Ok(())
}
