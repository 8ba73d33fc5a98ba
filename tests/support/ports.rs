//! Ports that stay a fixture's own from its choice to its end: outside of the range that the kernel gives away, and locked
//! against other tests.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use nix::fcntl::{Flock, FlockArg};

/// Below the kernel's own range (32768 and up) and that of node ports.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

pub struct Port {
    number: u16,
    _lock: Flock<File>,
}

impl Port {
    /// # Panics
    /// When the machine has none left.
    pub fn reserve() -> Self {
        let locks = std::env::temp_dir().join("mizzen-test-ports");
        std::fs::create_dir_all(&locks).expect("makes");
        // Each process begins elsewhere, so that a port rests before it is somebody else's.
        let start = usize::try_from(std::process::id()).expect("fits").wrapping_mul(97) % RANGE.len();
        for number in RANGE.cycle().skip(start).take(RANGE.len()) {
            let file = File::options().create(true).truncate(false).write(true).open(locks.join(number.to_string()));
            let Ok(lock) = Flock::lock(file.expect("opens"), FlockArg::LockExclusiveNonblock) else { continue };
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port of {RANGE:?} is free");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    /// On loopback.
    pub fn address(&self) -> SocketAddr {
        self.on(Ipv4Addr::LOCALHOST.into())
    }

    pub fn on(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.number)
    }
}
