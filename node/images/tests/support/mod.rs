//! A real registry on loopback, and small images.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mizzen_images::{Credentials, ImageConfig, Settings};

/// Debian's docker-registry, ended with the test.
pub(crate) struct Registry {
    child: Child,
    pub(crate) port: u16,
    _dir: tempfile::TempDir,
}

pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "correct horse";

impl Registry {
    pub(crate) fn start(with_password: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.path().join("data").display()
        );
        if with_password {
            let users = dir.path().join("htpasswd");
            let made = Command::new("htpasswd").args(["-Bbc", users.to_str().unwrap(), USER, PASSWORD]).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
        }
        let file = dir.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Debian's docker-registry");
        let mut registry = Self { child, port, _dir: dir };
        registry.wait();
        registry
    }

    fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            if self.child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                let lines = BufReader::new(self.child.stderr.take().unwrap()).lines();
                panic!("docker-registry did not start: {:?}", lines.take(5).collect::<Vec<_>>());
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn ann() -> Credentials {
    Credentials::Basic { username: USER.into(), password: PASSWORD.into() }
}

/// Impatient.
pub(crate) fn settings() -> Settings {
    Settings {
        stall: Duration::from_millis(400),
        attempts: 3,
        backoff: Duration::from_millis(5),
        longest_wait: Duration::from_secs(3),
        ..Settings::default()
    }
}

/// Two layers: Debian's static busybox with links to it, and what is configured on top.
pub(crate) fn busybox(dir: &Path) -> (Vec<PathBuf>, ImageConfig) {
    let (base, top) = (dir.join("base"), dir.join("top"));
    std::fs::create_dir_all(base.join("bin")).unwrap();
    std::fs::create_dir_all(base.join("etc")).unwrap();
    std::fs::copy("/bin/busybox", base.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", base.join("bin/sh")).unwrap();
    std::fs::hard_link(base.join("bin/busybox"), base.join("bin/ls")).unwrap();
    std::fs::write(base.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/www:/bin/sh\n").unwrap();
    std::fs::write(base.join("etc/motd"), "old").unwrap();
    std::fs::create_dir_all(top.join("etc")).unwrap();
    std::fs::create_dir_all(top.join("www")).unwrap();
    std::fs::write(top.join("www/index.html"), "hello").unwrap();
    std::os::unix::fs::chown(top.join("www/index.html"), Some(33), Some(34)).unwrap();
    std::fs::write(top.join("etc/.wh.motd"), "").unwrap();
    let config = ImageConfig {
        entrypoint: vec!["/bin/sh".into(), "-c".into()],
        cmd: vec!["echo hi".into()],
        env: vec!["PATH=/bin".into(), "A=b".into()],
        working_dir: "/www".into(),
        user: "web".into(),
        stop_signal: "SIGINT".into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
    };
    (vec![base, top], config)
}

/// The smallest core module.
pub(crate) fn wasm(dir: &Path) -> PathBuf {
    let path = dir.join("app.wasm");
    std::fs::File::create(&path).unwrap().write_all(b"\0asm\x01\0\0\0").unwrap();
    path
}
