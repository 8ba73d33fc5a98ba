//! A machine of its own, as far as the network goes: a namespace from which connections go out to a few ports of this machine's
//! loopback, through relays that a test can cut, and into which none goes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sched::{CloneFlags, setns};
use parking_lot::Mutex;

use crate::command::run;
use crate::executables;

const PREFIX: &str = "mizzen-far-";

pub struct FarMachine {
    namespace: String,
    relays: Arc<Relays>,
}

#[derive(Default)]
struct Relays {
    is_cut: AtomicBool,
    opened: AtomicU64,
    open: Mutex<HashMap<u64, [TcpStream; 2]>>,
}

impl FarMachine {
    /// One whose loopback has these ports of this machine's.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn with_ports(ports: &[u16]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        remove_leftovers();
        let namespace = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        ip(&["netns", "add", &namespace]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        let machine = Self { namespace, relays: Arc::default() };
        ports.iter().for_each(|port| machine.relay(*port));
        machine
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.namespace)
    }

    /// `mizzen` on this machine.
    pub fn mizzen(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(executables::path("mizzen"));
        command
    }

    /// Breaks all connections, and lets no more through.
    pub fn cut(&self) {
        self.relays.is_cut.store(true, Ordering::SeqCst);
        for (_, sides) in self.relays.open.lock().drain() {
            sides.iter().for_each(|side| drop(side.shutdown(Shutdown::Both)));
        }
    }

    pub fn mend(&self) {
        self.relays.is_cut.store(false, Ordering::SeqCst);
    }

    /// A socket belongs to the namespace of the thread that makes it: one thread listens there, and others connect here.
    fn relay(&self, port: u16) {
        let (namespace, relays) = (File::open(self.path()).expect("is there"), self.relays.clone());
        let (bound, is_bound) = std::sync::mpsc::channel();
        let (accepted, connections) = std::sync::mpsc::channel::<TcpStream>();
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("goes there");
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody else is there");
            bound.send(()).expect("is waited for");
            while let Ok((stream, _)) = listener.accept() {
                if accepted.send(stream).is_err() {
                    return;
                }
            }
        });
        std::thread::spawn(move || connections.iter().for_each(|near| relays.carry(near, port)));
        is_bound.recv().expect("listens");
    }
}

impl Relays {
    fn carry(self: &Arc<Self>, near: TcpStream, port: u16) {
        let far = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let Ok(far) = far else { return };
        let sides = || [near.try_clone().expect("clones"), far.try_clone().expect("clones")];
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        {
            let mut open = self.open.lock();
            // Asked while nobody can cut: what is let through is known to whoever cuts next.
            if self.is_cut.load(Ordering::SeqCst) {
                return;
            }
            open.insert(number, sides());
        }
        for [from, to] in [sides(), {
            let [a, b] = sides();
            [b, a]
        }] {
            let relays = self.clone();
            std::thread::spawn(move || {
                copy(from, to);
                relays.open.lock().remove(&number);
            });
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl Drop for FarMachine {
    fn drop(&mut self) {
        run(Command::new("ip").args(["netns", "del", &self.namespace]));
    }
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments)).ok();
}

/// What killed tests left.
fn remove_leftovers() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next().map(str::to_owned));
        if owner.is_some_and(|pid| !PathBuf::from("/proc").join(pid).exists()) {
            run(Command::new("ip").args(["netns", "del", &name]));
        }
    }
}
