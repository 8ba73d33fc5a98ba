//! Ways from one network namespace's loopback to another's, for what a test needs there and no cluster should notice: the
//! registry, and kubectl's server.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, setns};

/// Leads from a port of loopback in one namespace to the same port in another; `None` is the test's own.
pub struct Door {
    listener: Arc<TcpListener>,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// # Panics
    /// When the port is taken.
    pub fn open(from: Option<&Path>, to: Option<&Path>, port: u16) -> Self {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = Arc::new(within(from, move || TcpListener::bind(at)).join().expect("does not panic").expect("binds"));
        let closed = Arc::new(AtomicBool::new(false));
        let (accepting, end) = (listener.clone(), closed.clone());
        let thread = within(to, move || {
            while let Ok((client, _)) = accepting.accept() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(server) = TcpStream::connect(at) {
                    join(&client, &server);
                }
            }
        });
        Self { listener, closed, thread: Some(thread) }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // A listener that is shut down accepts no more.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Runs something in a thread inside a pinned network namespace; `None` is the caller's own.
///
/// # Panics
/// The thread does, when there is no such namespace.
pub fn within<T: Send + 'static>(pin: Option<&Path>, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let pin: Option<PathBuf> = pin.map(Path::to_owned);
    std::thread::spawn(move || {
        if let Some(pin) = pin {
            let namespace = std::fs::File::open(pin).expect("is pinned");
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("enters");
        }
        work()
    })
}

/// Passes on what either says until both have ended.
fn join(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
