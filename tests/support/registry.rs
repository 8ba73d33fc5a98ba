//! A real registry (Debian's `docker-registry`) on loopback.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::command::run;
use crate::wait::eventually;

pub struct Registry {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Registry {
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        Self::serve(tempfile::tempdir().expect("a folder"), "")
    }

    /// One that only lets `user` in.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn with_login(user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("htpasswd");
        let hashed = run(Command::new("htpasswd").args(["-Bbn", user, password])).ok();
        std::fs::write(&file, hashed).expect("writes");
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
        Self::serve(dir, &auth)
    }

    fn serve(dir: TempDir, extra: &str) -> Self {
        let address = free_address();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {0}/data}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{address}\"}}\n{extra}",
            dir.path().display()
        );
        let file = dir.path().join("config.yml");
        std::fs::write(&file, config).expect("writes");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry starts (.ci/setup installs it)");
        let registry = Self { process, address, _dir: dir };
        eventually("the registry answers", || TcpStream::connect(address).ok());
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The full reference of an image here.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A loopback address that nobody listens on right now.
///
/// # Panics
/// When the machine has none left.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
