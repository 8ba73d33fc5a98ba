//! A node for one test, which takes everything away at its end, also after a failure.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mizzen_runtime::oci::Hierarchies;
use mizzen_runtime::{ContainerSpec, Exit, Image, Mount, Process, Resources, Sandbox, WasmConfig, WasmRuntime};
use mizzen_tests::executables::{guest, path};
use nix::sched::{CloneFlags, setns};

use crate::common;

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: Arc<WasmRuntime>,
    /// Lives in the network namespace and keeps it.
    keeper: Child,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Command::new("unshare").args(["--net", "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
        let node = Self { runtime: open(dir.path()), keeper, dir };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::fs::read_link(node.namespace()).is_ok_and(|namespace| namespace == own) {
            assert!(Instant::now() < deadline, "no network namespace");
            std::thread::yield_now();
        }
        node.ip(&["link", "set", "lo", "up"]);
        for last in 1..=9 {
            node.ip(&["addr", "add", &format!("10.99.0.{last}/32"), "dev", "lo"]);
        }
        node
    }

    fn ip(&self, arguments: &[&str]) {
        let namespace = format!("--net={}", self.namespace().display());
        let status = Command::new("nsenter").arg(namespace).arg("ip").args(arguments).status().unwrap();
        assert!(status.success(), "ip {arguments:?}");
    }

    pub(crate) fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.keeper.id()).into()
    }

    pub(crate) fn config(&self) -> WasmConfig {
        config(self.dir.path())
    }

    /// Hosts get cgroups of their own from now on; answers below which.
    pub(crate) fn bounded(&mut self) -> String {
        let parent = self.cgroup();
        self.runtime = WasmRuntime::new(WasmConfig { cgroup: Some(parent.clone()), ..self.config() }).unwrap();
        parent
    }

    fn cgroup(&self) -> String {
        format!("/mizzen-test-{}", self.keeper.id())
    }

    /// Those of hosts that were killed, as soon as they have ended.
    fn remove_cgroups(&self) {
        let directories = Hierarchies::discover().unwrap().directories(&self.cgroup());
        let deadline = Instant::now() + Duration::from_secs(60);
        for directory in directories.into_iter().map(|directory| directory.path).filter(|path| path.exists()) {
            let below = std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
            for path in below.filter(|path| path.is_dir()).chain([directory.clone()]) {
                while std::fs::remove_dir(&path).is_err() && path.exists() && Instant::now() < deadline {
                    std::thread::yield_now();
                }
            }
        }
    }

    pub(crate) fn restart(&mut self) {
        self.runtime = open(self.dir.path());
    }

    pub(crate) fn image(&self, path: PathBuf) -> Image {
        let digest = format!("sha256:{}", path.file_name().unwrap().to_string_lossy());
        Image::Wasm { path, digest }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn spec(&self, id: &str, address: &str, image: Image) -> ContainerSpec {
        ContainerSpec {
            id: id.into(),
            labels: BTreeMap::from([("pod".into(), "p".into())]),
            sandbox: Sandbox {
                namespace: "default".into(),
                network_namespace: Some(self.namespace()),
                addresses: vec![address.parse().unwrap()],
                ..Sandbox::default()
            },
            image,
            process: Process::default(),
            mounts: Vec::new(),
            resources: Resources::default(),
            log_path: self.dir.path().join("logs").join(id),
            log_limits: None,
        }
    }

    pub(crate) fn http(&self, id: &str, address: &str) -> ContainerSpec {
        self.spec(id, address, self.image(guest("hello_http")))
    }

    pub(crate) fn tryout(&self, id: &str, address: &str) -> ContainerSpec {
        self.spec(id, address, self.image(guest("tryout_http")))
    }

    pub(crate) fn cli(&self, id: &str, args: &[&str]) -> ContainerSpec {
        let mut spec = self.spec(id, "10.99.0.1", self.image(guest("hello-cli")));
        spec.process.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        spec
    }

    pub(crate) fn file(&self, id: &str, bytes: &[u8]) -> ContainerSpec {
        self.spec(id, "10.99.0.1", self.image(self.write(&format!("{id}.wasm"), bytes)))
    }

    pub(crate) fn entries(&self, id: &str) -> Vec<String> {
        common::entries(&self.dir.path().join("logs").join(id))
    }

    pub(crate) async fn exit(&self, id: &str) -> Exit {
        common::exit(self.runtime.as_ref(), id).await
    }

    pub(crate) async fn run(&self, spec: &ContainerSpec) -> (Exit, Vec<String>) {
        common::run(self.runtime.as_ref(), spec).await
    }

    /// What a server in the namespace says, until it closes.
    pub(crate) async fn ask(&self, address: &str, port: u16, question: &'static str) -> std::io::Result<String> {
        let namespace = File::open(self.namespace()).unwrap();
        let target = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        // A thread of its own: it never comes back from the namespace.
        let (sender, answer) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let exchange = || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(30))?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                stream.write_all(question.as_bytes())?;
                let mut text = String::new();
                if question.is_empty() {
                    let mut byte = [0];
                    while !text.ends_with('\n') && stream.read(&mut byte)? == 1 {
                        text.push(char::from(byte[0]));
                    }
                } else {
                    stream.read_to_string(&mut text)?;
                }
                Ok(text)
            };
            let _ = sender.send(exchange());
        });
        answer.await.unwrap()
    }

    /// Runs a server's work in the namespace, in a thread of its own, once `open` has opened its socket there.
    pub(crate) fn serve<S: Send + 'static>(
        &self,
        open: impl FnOnce() -> std::io::Result<S> + Send + 'static,
        work: impl FnOnce(S) + Send + 'static,
    ) {
        let namespace = File::open(self.namespace()).unwrap();
        let (opened, is_open) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            let socket = open().unwrap();
            opened.send(()).unwrap();
            work(socket);
        });
        is_open.recv().unwrap();
    }

    /// A file or folder as a mount.
    pub(crate) fn mount(&self, source: &Path, target: &str, readonly: bool) -> Mount {
        Mount { source: source.to_owned(), target: target.into(), readonly, propagation: "private".into() }
    }

    pub(crate) async fn get_path(&self, address: &str, path: &str) -> String {
        let question = format!("GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
        self.ask(address, 8080, question.leak()).await.unwrap()
    }

    pub(crate) async fn get(&self, address: &str) -> String {
        self.ask(address, 8080, "GET /there HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n").await.unwrap()
    }

    /// The processes that host this node's pods.
    pub(crate) fn hosts(&self) -> Vec<i32> {
        let own = self.dir.path().to_string_lossy().into_owned();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains("mizzen-wasm\0host") && line.contains(&own)
        })
        .collect()
    }
}

fn open(dir: &Path) -> Arc<WasmRuntime> {
    WasmRuntime::new(config(dir)).unwrap()
}

fn config(dir: &Path) -> WasmConfig {
    WasmConfig {
        root: dir.join("state"),
        executable: path("mizzen-wasm"),
        cgroup: None,
        stay: Duration::ZERO,
        look_at_logs: Duration::from_millis(10),
    }
}

pub(crate) fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
}

impl Drop for Node {
    fn drop(&mut self) {
        self.hosts().into_iter().for_each(kill);
        self.remove_cgroups();
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        // The runtime is still noting that the hosts have ended: where it looks there is nothing any more.
        let gone = self.dir.path().with_extension("gone");
        if std::fs::rename(self.dir.path(), &gone).is_ok() {
            let _ = std::fs::remove_dir_all(gone);
        }
    }
}

fn section(id: u8, body: Vec<u8>) -> Vec<u8> {
    [vec![id, body.len() as u8], body].concat()
}

/// A preview1 module that writes so many MiB of memory, in pages of 64 KiB, and goes on for ever.
pub(crate) fn filling(mib: u32) -> Vec<u8> {
    let number = |mut value: u32| {
        // Signed LEB128, of positive numbers.
        let mut bytes = Vec::new();
        while value >= 0x40 {
            bytes.push(value as u8 & 0x7f | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    // memory.fill(0, 1, all); loop
    let body = [&[0, 0x41, 0, 0x41, 1, 0x41][..], &number(mib << 20), &[0xfc, 0x0b, 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![1, 0x60, 0, 0]),
        section(3, vec![1, 0]),
        section(5, [&[1, 0][..], &number(mib * 16)].concat()),
        section(7, [&[2, 6], &b"memory"[..], &[2, 0, 6], b"_start", &[0, 0]].concat()),
        section(10, [vec![1, body.len() as u8], body].concat()),
    ]
    .concat()
}

/// A preview1 module that prints `text` and a newline and ends with `code`.
pub(crate) fn printing(text: &str, code: u8) -> Vec<u8> {
    let import = |name: &str, ty: u8| {
        let module = "wasi_snapshot_preview1";
        [&[module.len() as u8], module.as_bytes(), &[name.len() as u8], name.as_bytes(), &[0, ty]].concat()
    };
    let data = [&[8, 0, 0, 0, text.len() as u8 + 1, 0, 0, 0], text.as_bytes(), b"\n"].concat();
    // fd_write(1, iovec at 0, 1, 64); proc_exit(code)
    let body = [0, 0x41, 1, 0x41, 0, 0x41, 1, 0x41, 0xc0, 0, 0x10, 0, 0x1a, 0x41, code, 0x10, 1, 0x0b];
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, vec![3, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f, 0x60, 1, 0x7f, 0, 0x60, 0, 0]),
        section(2, [vec![2], import("fd_write", 0), import("proc_exit", 1)].concat()),
        section(3, vec![1, 2]),
        section(5, vec![1, 0, 1]),
        section(7, [&[2, 6], &b"memory"[..], &[2, 0, 6], b"_start", &[0, 2]].concat()),
        section(10, [vec![1, body.len() as u8], body.to_vec()].concat()),
        section(11, [vec![1, 0, 0x41, 0, 0x0b, data.len() as u8], data].concat()),
    ]
    .concat()
}
