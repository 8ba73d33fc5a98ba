//! A real registry: Debian's `docker-registry`.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::authority::Authority;
use crate::command::run;
use crate::folder::Folder;
use crate::ports::Port;
use crate::wait::eventually;

pub struct Registry {
    process: Child,
    address: SocketAddr,
    /// What its clients must trust, when it speaks TLS.
    authority: Option<PathBuf>,
    folder: Folder,
    _port: Port,
}

impl Registry {
    /// On loopback, open to all.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        Self::serve(Ipv4Addr::LOCALHOST.into(), None, None)
    }

    /// One that only lets `user` in.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn with_login(user: &str, password: &str) -> Self {
        Self::serve(Ipv4Addr::LOCALHOST.into(), Some((user, password)), None)
    }

    /// One that only lets `user` in, over TLS, on an address of this machine: registries on loopback are asked without TLS.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn with_tls(host: IpAddr, authority: &Authority, user: &str, password: &str) -> Self {
        Self::serve(host, Some((user, password)), Some(authority))
    }

    fn serve(host: IpAddr, login: Option<(&str, &str)>, authority: Option<&Authority>) -> Self {
        let (folder, port) = (Folder::new(), Port::reserve());
        let address = port.on(host);
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).expect("writes");
            file
        };
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n",
            folder.path().join("blobs").display()
        );
        if let Some((user, password)) = login {
            let file = write("htpasswd", &run(Command::new("htpasswd").args(["-Bbn", user, password])).ok());
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
        }
        let mut tls = String::new();
        if let Some(authority) = authority {
            let (certificate, key) = authority.issue(host);
            let (certificate, key) = (write("server.crt", &certificate), write("server.key", &key));
            tls = format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display());
        }
        config += &format!("http: {{addr: \"{address}\"{tls}}}\n");
        let (file, log) = (write("config.yml", &config), folder.path().join("log"));
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(File::create(&log).expect("makes"))
            .stderr(File::options().append(true).open(&log).expect("is there"))
            .spawn()
            .expect("docker-registry starts (.ci/setup installs it)");
        let authority = authority.map(|authority| authority.file().to_owned());
        let mut registry = Self { process, address, authority, folder, _port: port };
        eventually("the registry answers", || registry.answers().then_some(()));
        registry
    }

    /// # Panics
    /// When it has ended.
    fn answers(&mut self) -> bool {
        if let Some(status) = self.process.try_wait().expect("waits") {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            panic!("docker-registry ended with {status}:\n{log}");
        }
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5"]);
        let scheme = match &self.authority {
            Some(file) => {
                curl.arg("--cacert").arg(file);
                "https"
            }
            None => "http",
        };
        // 401: it wants a login, and does answer.
        ["200", "401"].contains(&run(curl.arg(format!("{scheme}://{}/v2/", self.address))).stdout.as_str())
    }

    /// `HOST:PORT`.
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
