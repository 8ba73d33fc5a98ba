//! A cluster that goes away with its test, and sockets in any network namespace.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mizzen_network::{Network, NetworkConfig, PodRequest};
use nix::sched::{CloneFlags, setns};

pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut random = [0; 4];
        File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        Self { id: format!("{:08x}", u32::from_ne_bytes(random)), dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> NetworkConfig {
        NetworkConfig {
            cluster: self.id.clone(),
            run_dir: self.dir.path().to_owned(),
            pod_cidr: None,
            second_pod_cidr: None,
            node_address: None,
            services: mizzen_network::ServiceRange::Unknown,
            peers: mizzen_network::PeersConfig::default(),
            cni: mizzen_network::PluginDirs::default(),
        }
    }

    pub(crate) async fn open(&self) -> Network {
        Network::open(self.config()).await.unwrap()
    }

    pub(crate) fn files(&self, below: &str) -> usize {
        std::fs::read_dir(self.dir.path().join(below)).unwrap().count()
    }

    pub(crate) fn delete_bridge(&self) {
        run("ip", &["link", "del", &format!("mz{}", self.id)]);
    }

    /// What a reboot leaves: the files, none of the kernel's objects.
    pub(crate) fn reboot(&self) {
        for pod in std::fs::read_dir(self.dir.path().join("ns")).unwrap() {
            for pin in std::fs::read_dir(pod.unwrap().path()).unwrap() {
                nix::mount::umount2(&pin.unwrap().path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
            }
        }
        for link in links_named(&self.id) {
            Command::new("ip").args(["link", "del", &link]).output().unwrap();
        }
        run("nft", &["delete", "table", "ip", &format!("mizzen_{}", self.id)]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let config = self.config();
        let teardown = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(Network::teardown(&config))
        };
        let done = std::thread::spawn(teardown).join();
        if !std::thread::panicking() {
            done.unwrap().unwrap();
        }
    }
}

pub(crate) fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn pod(uid: &str) -> PodRequest {
    PodRequest { uid: uid.into(), hostname: format!("host-{uid}"), ..PodRequest::default() }
}

/// Runs something in a thread inside the namespace.
fn inside<T: Send + 'static>(namespace: Option<&Path>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = namespace.map(|path| File::open(path).unwrap());
    let thread = std::thread::spawn(move || {
        if let Some(namespace) = namespace {
            setns(namespace.as_fd(), CloneFlags::empty()).unwrap();
        }
        work()
    });
    thread.join().unwrap()
}

/// Answers every connection with the address it comes from.
pub(crate) struct Server {
    pub(crate) address: (IpAddr, u16),
    stop: Arc<AtomicBool>,
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(namespace: Option<&Path>, address: (IpAddr, u16)) -> Self {
        let listener = Arc::new(inside(namespace, move || TcpListener::bind(address)).unwrap());
        let bound = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (accepting, stopped) = (listener.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = accepting.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.write_all(peer.ip().to_string().as_bytes());
            }
        });
        Self { address: (bound.ip(), bound.port()), stop, listener, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Ends the accept; a shut down listener accepts no more.
        use std::os::fd::AsRawFd as _;
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Connects from the namespace and answers what the server said.
pub(crate) fn call(namespace: Option<&Path>, target: (IpAddr, u16)) -> io::Result<String> {
    inside(namespace, move || {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(target), Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        if said.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(said)
    })
}

/// One that the kernel gives to nobody else meanwhile: its own range begins at 32768.
pub(crate) fn free_port() -> u16 {
    let start = 10_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (start..30_000).find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).expect("one is free")
}

/// Makes the namespace send packets for 127.0.0.1 over its interface, as a malicious pod with CAP_NET_ADMIN could.
pub(crate) fn route_loopback_to_node(namespace: &Path) {
    let net = format!("--net={}", namespace.display());
    let script = "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet && ip addr del 127.0.0.1/8 dev lo && \
                  gw=$(ip route show default | cut -d' ' -f3) && ip route del table local 127.0.0.0/8 2>/dev/null; \
                  ip route add 127.0.0.1 via $(ip route show default | cut -d' ' -f3) dev eth0";
    run("nsenter", &[&net, "sh", "-c", script]);
}

pub(crate) fn hostname_in(uts: &Path) -> String {
    inside(Some(uts), || nix::unistd::gethostname().unwrap().into_string().unwrap())
}

pub(crate) fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

pub(crate) fn links_named(part: &str) -> Vec<String> {
    let names = std::fs::read_dir("/sys/class/net").unwrap();
    names.map(|n| n.unwrap().file_name().into_string().unwrap()).filter(|n| n.contains(part)).collect()
}

pub(crate) fn nft_tables() -> String {
    let output = Command::new("nft").args(["list", "tables"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn eventually(what: &str, is: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn forward_rules() -> String {
    let output = Command::new("nft").args(["list", "chain", "ip", "filter", "FORWARD"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
