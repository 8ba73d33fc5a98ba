//! Namespaces without a process: made in a thread that ends, kept by bind mounts.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, statfs};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

use crate::links::Links;
use crate::machine::try_sysctl;
use crate::{NetworkError, state};

const NSFS: FsType = FsType(libc::NSFS_MAGIC as _);

/// Which namespaces to make.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) net: bool,
    pub(crate) ipc: bool,
    /// With this hostname.
    pub(crate) uts: Option<String>,
}

/// New namespaces; they live while this does, or once they are pinned.
pub(crate) struct Made {
    pub(crate) net: Option<File>,
    pub(crate) ipc: Option<File>,
    pub(crate) uts: Option<File>,
    /// A netlink socket that stays inside the new network namespace.
    pub(crate) links: Option<Links>,
}

/// Runs `work` in a thread of its own that then ends: a thread of the runtime must never change its namespaces.
async fn in_own_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let (answer, answered) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        // The netlink socket made in there belongs to this runtime.
        let _entered = runtime.enter();
        let _ = answer.send(work());
    };
    std::thread::Builder::new().name("mizzen-netns".into()).spawn(run).map_err(state::io("start a thread for", path))?;
    answered.await.map_err(|_| NetworkError::Worker)?
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(nix::Error) -> NetworkError {
    let path = path.to_owned();
    move |e| NetworkError::Namespace { operation, path, source: e.into() }
}

fn own(kind: &str) -> Result<File, NetworkError> {
    let path = PathBuf::from(format!("/proc/thread-self/ns/{kind}"));
    File::open(&path).map_err(state::io("open", &path))
}

/// Makes namespaces. `dir` is where they will be pinned, for errors.
pub(crate) async fn make(dir: &Path, wanted: Wanted) -> Result<Made, NetworkError> {
    let place = dir.to_owned();
    in_own_thread(dir, move || {
        let mut flags = CloneFlags::empty();
        flags.set(CloneFlags::CLONE_NEWNET, wanted.net);
        flags.set(CloneFlags::CLONE_NEWIPC, wanted.ipc);
        flags.set(CloneFlags::CLONE_NEWUTS, wanted.uts.is_some());
        unshare(flags).map_err(failed("create", &place))?;
        if let Some(hostname) = &wanted.uts {
            nix::unistd::sethostname(hostname).map_err(failed("set the hostname of", &place))?;
        }
        let mut made = Made { net: None, ipc: None, uts: None, links: None };
        if wanted.net {
            prepare_network();
            made.net = Some(own("net")?);
            made.links = Some(Links::connect()?);
        }
        if wanted.ipc {
            made.ipc = Some(own("ipc")?);
        }
        if wanted.uts.is_some() {
            made.uts = Some(own("uts")?);
        }
        Ok(made)
    })
    .await
}

/// Sysctls of a fresh network namespace: duplicate address detection would keep addresses tentative for a second; ports
/// below 1024 and ping belong to whoever owns the pod's address, root or not, as container engines have it.
fn prepare_network() {
    try_sysctl("net/ipv6/conf/all/accept_dad", "0");
    try_sysctl("net/ipv6/conf/default/accept_dad", "0");
    try_sysctl("net/ipv4/ip_unprivileged_port_start", "0");
    try_sysctl("net/ipv4/ping_group_range", "0 2147483647");
}

/// Does something inside a pinned network namespace; a process that it starts stays there.
pub(crate) async fn enter<T: Send + 'static>(
    pin: &Path,
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let path = pin.to_owned();
    in_own_thread(pin, move || {
        let namespace = File::open(&path).map_err(state::io("open", &path))?;
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(failed("enter", &path))?;
        work()
    })
    .await
}

/// TCP sockets inside a pinned network namespace, for IPv4 and, where the machine has it, IPv6.
pub(crate) async fn sockets(pin: &Path) -> Result<(TcpSocket, Option<TcpSocket>), NetworkError> {
    let path = pin.to_owned();
    enter(pin, move || Ok((TcpSocket::new_v4().map_err(state::io("make a socket in", &path))?, TcpSocket::new_v6().ok()))).await
}

/// A netlink socket inside a pinned network namespace.
pub(crate) async fn connect(pin: &Path) -> Result<Links, NetworkError> {
    enter(pin, Links::connect).await
}

/// Keeps a namespace at `path`, also beyond this process.
pub(crate) fn pin(namespace: &File, path: &Path) -> Result<(), NetworkError> {
    unpin(path)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(state::io("create", dir))?;
    }
    File::create(path).map_err(state::io("create", path))?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
    mount(Some(&source), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(failed("pin", path))
}

/// A file that outlived a reboot is no pin.
pub(crate) fn is_pinned(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.filesystem_type() == NSFS)
}

/// Lets go of the namespace; it ends with the last process in it.
pub(crate) fn unpin(path: &Path) -> Result<(), NetworkError> {
    // A pin may lie under another when two agents raced; the loop ends when a plain file, or nothing, is left.
    while is_pinned(path) {
        umount2(path, MntFlags::MNT_DETACH).map_err(failed("unpin", path))?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(state::io("remove", path)(e)),
        _ => Ok(()),
    }
}
