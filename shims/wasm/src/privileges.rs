//! Giving up everything that is not needed.

use std::fs;
use std::io;

use mizzen_shim_protocol::wasm::HOST_USER;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

/// Not the hosts' user: it must not be able to signal them.
const COMPILER: u32 = 65533;

/// As `linux/capability.h` numbers it.
const CAP_NET_BIND_SERVICE: u32 = 10;
/// `_LINUX_CAPABILITY_VERSION_3`, whose sets are two words long.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Bytes of address space a compilation may take.
const COMPILE_MEMORY: u64 = 4 << 30;
/// Seconds of processor time a compilation may take.
const COMPILE_TIME: u64 = 300;

/// No network, no user, no new privileges, bounded memory and time.
pub(crate) fn enter_sandbox() -> io::Result<()> {
    if geteuid().is_root() {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)?;
        become_user(COMPILER)?;
    }
    prctl::set_no_new_privs()?;
    setrlimit(Resource::RLIMIT_AS, COMPILE_MEMORY, COMPILE_MEMORY)?;
    setrlimit(Resource::RLIMIT_CPU, COMPILE_TIME, COMPILE_TIME)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// What a host keeps is its socket and its network namespace; and, where the kernel does not open them to everyone, the
/// right to bind low ports there.
pub(crate) fn leave_root(bind_low_ports: bool) -> io::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    if geteuid().is_root() {
        prctl::set_keepcaps(bind_low_ports)?;
        become_user(HOST_USER)?;
        keep_only(if bind_low_ports { 1 << CAP_NET_BIND_SERVICE } else { 0 })?;
    }
    prctl::set_no_new_privs()?;
    // Hosts of other namespaces run as the same user and must not look into this one.
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Lets the pods of this namespace listen on any port; answers whether the process needs the capability for it.
pub(crate) fn open_low_ports() -> bool {
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").is_err()
}

/// Leaves the calling thread, the only one yet, these capabilities of the first 32 and no other.
fn keep_only(capabilities: u32) -> io::Result<()> {
    let header = [CAPABILITY_VERSION, 0];
    // Effective, permitted and inheritable of the low word, then of the high one.
    let sets = [capabilities, capabilities, 0, 0, 0, 0];
    // SAFETY: both arrays are laid out as the kernel's structures of this version.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn become_user(id: u32) -> io::Result<()> {
    setgroups(&[])?;
    setgid(Gid::from_raw(id))?;
    // Takes every capability along, unless they were to be kept.
    setuid(Uid::from_raw(id))?;
    Ok(())
}
