//! Whom a pod asks for names: its own hosts(5) and resolv.conf(5), not the machine's, from its own address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::dns::{self, Answer, Family};
use crate::sockets::Addresses;

/// As many servers as the C library asks, and no option beyond what it takes.
const SERVERS: usize = 3;
const NDOTS: usize = 15;
const TIMEOUT: u64 = 30;
const ATTEMPTS: usize = 5;

pub(crate) struct Names {
    own: Addresses,
    /// Addresses and the names that each has.
    hosts: Vec<(IpAddr, Vec<String>)>,
    servers: Vec<IpAddr>,
    search: Vec<String>,
    /// A name with as many dots is asked for as it is before the search list is.
    ndots: usize,
    timeout: Duration,
    attempts: usize,
    /// By TCP only.
    streams: bool,
    rotate: bool,
    turn: AtomicUsize,
    port: u16,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error("{0:?} is no name")]
    Invalid(String),
    #[error("no such name: {0}")]
    Unknown(String),
    #[error("the pod has no name server to ask for {0}")]
    NoServer(String),
    #[error("no answer about {name} from {server}: {source}")]
    Unanswered {
        name: String,
        server: IpAddr,
        #[source]
        source: io::Error,
    },
    #[error("{server} does not tell about {name} (response code {code})")]
    Refused { name: String, server: IpAddr, code: u8 },
}

impl Names {
    pub(crate) fn new(resolv_conf: &str, hosts: &str, own: Addresses) -> Self {
        let mut names = Self {
            own,
            hosts: hosts.lines().filter_map(host).collect(),
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            streams: false,
            rotate: false,
            turn: AtomicUsize::new(0),
            port: dns::PORT,
        };
        for line in resolv_conf.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => names.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
                Some("search" | "domain") => names.search = words.collect(),
                Some("options") => words.for_each(|word| names.option(&word)),
                _ => {}
            }
        }
        names.servers.truncate(SERVERS);
        names
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<usize>()) {
            ("ndots", Ok(value)) => self.ndots = value.min(NDOTS),
            ("timeout", Ok(value)) => self.timeout = Duration::from_secs((value as u64).clamp(1, TIMEOUT)),
            ("attempts", Ok(value)) => self.attempts = value.clamp(1, ATTEMPTS),
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.streams = true,
            _ => {}
        }
    }

    /// The addresses of a host, those of families that the pod has itself; an address stands for itself.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(vec![address]);
        }
        let known = self.known(host);
        if !known.is_empty() {
            return Ok(known);
        }
        let mut refused = None;
        for name in self.candidates(host) {
            match self.addresses(&name).await {
                Ok(found) if found.is_empty() => {}
                Err(error @ NameError::Refused { .. }) => refused = Some(error),
                answered => return answered,
            }
        }
        Err(refused.unwrap_or_else(|| NameError::Unknown(host.to_owned())))
    }

    /// From the pod's hosts file; loopback is the pod itself.
    fn known(&self, host: &str) -> Vec<IpAddr> {
        let name = host.trim_end_matches('.');
        let named = self.hosts.iter().filter(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)));
        named.map(|(address, _)| *address).filter(|address| self.own.like(*address).is_some()).collect()
    }

    /// Full names in the order in which they are asked for.
    fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let mut all: Vec<String> = self.search.iter().map(|domain| format!("{host}.{}", domain.trim_matches('.'))).collect();
        let at = if host.matches('.').count() >= self.ndots { 0 } else { all.len() };
        all.insert(at, host.to_owned());
        all
    }

    /// None where nothing of that name has an address that the pod could talk to.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        let (four, six) = (self.own.has_family(true), self.own.has_family(false));
        let ask = |wanted, family| async move { if wanted { self.ask(name, family).await } else { Ok(Vec::new()) } };
        let (four, six) = tokio::join!(ask(four, Family::V4), ask(six, Family::V6));
        Ok([four?, six?].concat())
    }

    async fn ask(&self, name: &str, family: Family) -> Result<Vec<IpAddr>, NameError> {
        let question = dns::question(name, family, rand::random()).ok_or_else(|| NameError::Invalid(name.to_owned()))?;
        let first = if self.rotate { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut failed = NameError::NoServer(name.to_owned());
        for number in 0..self.attempts * self.servers.len() {
            let server = self.servers[(first + number) % self.servers.len()];
            let target = self.own.remote(SocketAddr::new(server, self.port));
            let (Some(target), Some(own)) = (target, self.own.like(server)) else { continue };
            let asked = tokio::time::timeout(self.timeout, dns::ask(own, target, &question, self.streams));
            match asked.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(Answer::Addresses(found)) => return Ok(found),
                Ok(Answer::NoSuchName) => return Ok(Vec::new()),
                Ok(Answer::Refused(code)) => failed = NameError::Refused { name: name.to_owned(), server, code },
                Err(source) => failed = NameError::Unanswered { name: name.to_owned(), server, source },
            }
        }
        Err(failed)
    }
}

/// A line of hosts(5).
fn host(line: &str) -> Option<(IpAddr, Vec<String>)> {
    let mut words = line.split('#').next()?.split_whitespace();
    let address = words.next()?.parse().ok()?;
    Some((address, words.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;

    fn names(resolv_conf: &str) -> Names {
        let hosts = "# by hand\n127.0.0.1\tlocalhost # here\n::1\tlocalhost\n192.0.2.7\ta B\n";
        Names::new(resolv_conf, hosts, Addresses::new(&["127.0.0.9".parse().unwrap()]))
    }

    fn list(addresses: &[&str]) -> Vec<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn addresses_and_the_pods_hosts_need_no_server() {
        let names = names("");
        assert_eq!(names.lookup("192.0.2.1").await.unwrap(), list(&["192.0.2.1"]));
        assert_eq!(names.lookup("[::1]").await.unwrap(), list(&["::1"]));
        assert_eq!(names.lookup("b").await.unwrap(), list(&["192.0.2.7"]));
        assert_eq!(names.lookup("localhost").await.unwrap(), list(&["127.0.0.1"]), "the pod has no IPv6");
        assert!(matches!(names.lookup("nobody.example").await, Err(NameError::NoServer(_))));
        assert!(matches!(names.lookup("no name").await, Err(NameError::Invalid(_))));
    }

    #[test]
    fn names_with_few_dots_go_through_the_search_list_first() {
        let names = names("search default.svc cluster.local\noptions ndots:2 timeout:99 attempts:0 use-vc rotate\n");
        assert_eq!(names.candidates("a.b"), ["a.b.default.svc", "a.b.cluster.local", "a.b"]);
        assert_eq!(names.candidates("a.b.c"), ["a.b.c", "a.b.c.default.svc", "a.b.c.cluster.local"]);
        assert_eq!(names.candidates("a."), ["a."]);
        assert_eq!((names.timeout, names.attempts), (Duration::from_secs(30), 1));
        assert!(names.streams && names.rotate);
    }

    /// A server that knows one name, and tells who asked for what.
    async fn server(known: &'static str) -> (u16, tokio::task::JoinHandle<Vec<(String, IpAddr)>>) {
        let socket = UdpSocket::bind("127.0.0.9:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let serving = async move {
            let mut asked = Vec::new();
            let mut bytes = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut bytes).await.unwrap();
                let is_known = dns::question(known, Family::V4, 0).unwrap()[2..] == bytes[2..length];
                let mut answer = bytes[..length].to_vec();
                answer[2..4].copy_from_slice(if is_known { &[0x81, 0x80] } else { &[0x81, 0x83] });
                if is_known {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 33]);
                }
                socket.send_to(&answer, client).await.unwrap();
                asked.push((String::from_utf8_lossy(&bytes[12..length - 5]).into_owned(), client.ip()));
                if is_known {
                    return asked;
                }
            }
        };
        (port, tokio::spawn(serving))
    }

    #[tokio::test]
    async fn servers_are_asked_from_the_pods_address_along_the_search_list() {
        let (port, asked) = server("web.default.svc").await;
        // A server at a loopback address is one of the pod's own.
        let mut names = names("nameserver 127.0.0.53\nsearch other.svc default.svc\noptions ndots:5\n");
        names.port = port;
        assert_eq!(names.lookup("web").await.unwrap(), list(&["192.0.2.33"]));
        let own: IpAddr = "127.0.0.9".parse().unwrap();
        let asked_for = |name: &str| (name.to_owned(), own);
        assert_eq!(asked.await.unwrap(), [asked_for("\x03web\x05other\x03svc"), asked_for("\x03web\x07default\x03svc")]);
    }
}
