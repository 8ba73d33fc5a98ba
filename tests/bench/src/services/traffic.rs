//! Connections between two pods, by the server's own address and by its service's, in turns: what else the machine does is in
//! both.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use mizzen_tests::door::within;
use nix::sys::socket::{setsockopt, sockopt};

use crate::samples::Samples;

/// Where the server says one byte and closes.
pub(super) const SHORT: u16 = 8080;
/// Where it listens until the client has ended.
pub(super) const BULK: u16 = 8081;
const ROUNDS: usize = 16;
const ROUND: Duration = Duration::from_millis(500);
const CLIENTS: usize = 4;
/// Threads that accept.
const ACCEPTORS: usize = 2;
const CHUNK: usize = 256 << 10;
/// Rounds of connections of which only the first packet counts.
const FIRSTS: (usize, usize) = (20, 250);

/// A server in one pod's network namespace, clients in another's, and two ways between them.
pub(super) struct Ends {
    client: PathBuf,
    direct: IpAddr,
    service: IpAddr,
    listeners: Vec<TcpListener>,
    acceptors: Vec<JoinHandle<()>>,
}

/// Medians of rounds, and the median of each round's service to its direct.
pub(super) struct Compared {
    pub(super) direct: f64,
    pub(super) service: f64,
    pub(super) share: f64,
}

impl Ends {
    /// # Errors
    /// When the server cannot listen.
    pub(super) fn open(client: PathBuf, server: PathBuf, direct: IpAddr, service: IpAddr) -> anyhow::Result<Self> {
        let mut ends = Self { client, direct, service, listeners: Vec::new(), acceptors: Vec::new() };
        let listen = |port| joined(within(Some(&server), move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))));
        let (short, bulk) = (listen(SHORT)??, listen(BULK)??);
        for _ in 0..ACCEPTORS {
            ends.serve(&short, |mut stream| drop(stream.write_all(b"!")))?;
        }
        ends.serve(&bulk, |stream| drop(std::thread::spawn(move || take_all(stream))))?;
        ends.listeners = vec![short, bulk];
        Ok(ends)
    }

    fn serve(&mut self, listener: &TcpListener, each: impl Fn(TcpStream) + Send + 'static) -> anyhow::Result<()> {
        let listener = listener.try_clone()?;
        let accept = move || {
            while let Ok((stream, _)) = listener.accept() {
                each(stream);
            }
        };
        self.acceptors.push(std::thread::spawn(accept));
        Ok(())
    }

    /// One connection by the service.
    ///
    /// # Errors
    /// When it leads nowhere.
    pub(super) fn connect(&self) -> anyhow::Result<()> {
        let service = SocketAddr::new(self.service, SHORT);
        let connected = within(Some(&self.client), move || TcpStream::connect_timeout(&service, Duration::from_secs(1)));
        joined(connected)??;
        Ok(())
    }

    /// Connections a second: each is made, says a byte and is gone.
    ///
    /// # Errors
    /// When one fails.
    pub(super) fn compare_connections(&self) -> anyhow::Result<Compared> {
        self.compare(|to| self.each_client(CLIENTS, move || short_connections(SocketAddr::new(to, SHORT))))
    }

    /// Bytes a second over so many connections at once.
    ///
    /// # Errors
    /// When one fails.
    pub(super) fn compare_throughput(&self, connections: usize) -> anyhow::Result<Compared> {
        self.compare(|to| self.each_client(connections, move || bulk(SocketAddr::new(to, BULK))))
    }

    /// The sum of what each client reaches in a second.
    fn each_client(&self, clients: usize, work: impl Fn() -> io::Result<f64> + Clone + Send + 'static) -> anyhow::Result<f64> {
        let all: Vec<_> = (0..clients).map(|_| within(Some(&self.client), work.clone())).collect();
        all.into_iter().map(|client| Ok(joined(client)??)).sum()
    }

    fn compare(&self, ask: impl Fn(IpAddr) -> anyhow::Result<f64>) -> anyhow::Result<Compared> {
        let measure = |to| ask(to).with_context(|| format!("connections to {to}"));
        let (mut direct, mut service, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            // Neither is always the first.
            let (by_service, by_address) = if round % 2 == 0 {
                let first = measure(self.service)?;
                (first, measure(self.direct)?)
            } else {
                let first = measure(self.direct)?;
                (measure(self.service)?, first)
            };
            direct.push(by_address);
            service.push(by_service);
            shares.push(by_service / by_address);
        }
        Ok(Compared { direct: median(direct), service: median(service), share: median(shares) })
    }

    fn first_packets(&self, count: usize) -> anyhow::Result<Samples> {
        let to = SocketAddr::new(self.service, SHORT);
        let connecting = within(Some(&self.client), move || {
            let mut times = Samples::default();
            for _ in 0..count {
                let begin = Instant::now();
                let mut stream = TcpStream::connect(to)?;
                times.push(begin.elapsed());
                end(&mut stream)?;
            }
            Ok::<_, io::Error>(times)
        });
        Ok(joined(connecting)??)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // A listener that is shut down accepts no more.
        for listener in &self.listeners {
            let _ = nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
        self.acceptors.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// `connect()` beside few services and beside many, in turns; with the median of each round's many to its few.
///
/// # Errors
/// When a connection fails.
pub(super) fn compare_first_packets(few: &Ends, many: &Ends) -> anyhow::Result<(Samples, Samples, f64)> {
    let (mut low, mut high, mut shares) = (Samples::default(), Samples::default(), Vec::new());
    let (rounds, count) = FIRSTS;
    for _ in 0..rounds {
        let (beside_few, beside_many) = (few.first_packets(count)?, many.first_packets(count)?);
        shares.push(beside_many.median().as_secs_f64() / beside_few.median().as_secs_f64());
        low.extend(beside_few);
        high.extend(beside_many);
    }
    Ok((low, high, median(shares)))
}

fn joined<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().ok().context("a thread in a network namespace ended early")
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn take_all(mut stream: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
}

/// Waits for the server's byte and resets the connection: nothing waits at either end for what may come late.
fn end(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 1])?;
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &at_once)?;
    Ok(())
}

fn short_connections(to: SocketAddr) -> io::Result<f64> {
    let (begin, mut count) = (Instant::now(), 0_u32);
    while begin.elapsed() < ROUND {
        end(&mut TcpStream::connect(to)?)?;
        count += 1;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

/// Until the server has taken all.
fn bulk(to: SocketAddr) -> io::Result<f64> {
    let mut stream = TcpStream::connect(to)?;
    let chunk = vec![b'x'; CHUNK];
    let (begin, mut written) = (Instant::now(), 0_usize);
    while begin.elapsed() < ROUND {
        written += stream.write(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let _ = stream.read(&mut [0; 1])?;
    Ok(written as f64 / begin.elapsed().as_secs_f64())
}
