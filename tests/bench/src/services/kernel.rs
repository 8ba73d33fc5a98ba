//! What changes in the kernel's tables, when it does: it tells by netlink once a transaction has been committed.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use tokio::sync::mpsc;

/// `NFNLGRP_NFTABLES`, as a mask of groups.
const GROUP: u32 = 1 << 6;
const BUFFER: usize = 64 << 20;
/// How often it is looked whether nobody listens any more.
const TURN: i64 = 100;

/// What was told, and when.
struct Told {
    at: Instant,
    message: Vec<u8>,
}

/// Listens from when it is made.
pub(super) struct Kernel {
    told: mpsc::UnboundedReceiver<Told>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Kernel {
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).context("a large buffer")?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(TURN))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP)).context("listen to changes of nftables")?;
        let (tell, told) = mpsc::unbounded_channel();
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !end.load(Ordering::Relaxed) {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => {
                        let message = buffer.get(..length).unwrap_or_default().to_vec();
                        let _ = tell.send(Told { at: Instant::now(), message });
                    }
                    Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Self { told, ended, thread: Some(thread) })
    }

    /// Waits until an element of each table's map of endpoints says these bytes: when the last did.
    ///
    /// # Errors
    /// When that does not come about within `patience`.
    pub(super) async fn until(&mut self, tables: &[String], bytes: [u8; 4], patience: Duration) -> anyhow::Result<Instant> {
        let mut missing: Vec<&String> = tables.iter().collect();
        let mut last = Instant::now();
        let deadline = tokio::time::Instant::now() + patience;
        while !missing.is_empty() {
            let told = tokio::time::timeout_at(deadline, self.told.recv()).await;
            let told = told.with_context(|| format!("not within {patience:?} in {missing:?}"))?.context("nobody listens")?;
            let says = |what: &[u8]| memchr::memmem::find(&told.message, what).is_some();
            if !says(b"endpoints\0") || !says(&bytes) {
                continue;
            }
            let before = missing.len();
            missing.retain(|table| !says(table.as_bytes()));
            if missing.len() < before {
                last = told.at;
            }
        }
        Ok(last)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
