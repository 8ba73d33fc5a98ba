//! A node in a temporary directory, whose containers and cgroups go with it, also after a failed test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mizzen_runtime::{
    ContainerSpec, ContainerState, Exit, Image, OciConfig, OciRuntime, Process, Resources, Runtime, Sandbox, Session,
};
use mizzen_tests::executables::path;
use tokio::io::AsyncReadExt;

use crate::common;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What container engines give by default.
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runtime: Arc<OciRuntime>,
    pub(crate) cgroup: String,
    layer: PathBuf,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("mizzen-runtime-").tempdir().unwrap();
        let layer = dir.path().join("layer");
        for name in ["bin", "etc", "tmp"] {
            std::fs::create_dir_all(layer.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", layer.join("bin/busybox")).expect("Debian's busybox-static");
        let installed = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for name in String::from_utf8(installed.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", layer.join("bin").join(name)).unwrap();
        }
        std::fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("/mizzen-test-{}-{number}", std::process::id());
        let runtime = open(dir.path());
        Self { dir, runtime, cgroup, layer }
    }

    /// As after the agent was killed and started again.
    pub(crate) fn restart(&mut self) {
        self.runtime = open(self.dir.path());
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.dir.path().join("state/containers")
    }

    pub(crate) fn log(&self, id: &str) -> String {
        common::log(&self.dir.path().join("logs").join(id))
    }

    pub(crate) fn entries(&self, id: &str) -> Vec<String> {
        common::entries(&self.dir.path().join("logs").join(id))
    }

    pub(crate) fn spec(&self, id: &str, args: &[&str]) -> ContainerSpec {
        ContainerSpec {
            id: id.into(),
            labels: BTreeMap::from([("pod".into(), "p".into())]),
            sandbox: Sandbox { cgroup: self.cgroup.clone(), hostname: "node".into(), ..Sandbox::default() },
            image: Image::Layers(vec![self.layer.clone()]),
            process: Process {
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                capabilities: CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
                ..Process::default()
            },
            mounts: Vec::new(),
            resources: Resources::default(),
            log_path: self.dir.path().join("logs").join(id),
            log_limits: None,
        }
    }

    pub(crate) fn sh(&self, id: &str, script: &str) -> ContainerSpec {
        self.spec(id, &["sh", "-c", script])
    }

    pub(crate) async fn exit(&self, id: &str) -> Exit {
        common::exit(self.runtime.as_ref(), id).await
    }

    pub(crate) async fn run(&self, spec: &ContainerSpec) -> (Exit, Vec<String>) {
        common::run(self.runtime.as_ref(), spec).await
    }

    pub(crate) async fn started(&self, spec: &ContainerSpec) -> i32 {
        match self.runtime.start(spec).await.unwrap().state {
            ContainerState::Running { pid, .. } => pid.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Shims end with their containers; only then does nobody write below the directory any more.
    fn shims_are_gone(&self) -> bool {
        use nix::fcntl::{Flock, FlockArg};
        let containers = std::fs::read_dir(self.containers()).into_iter().flatten().flatten();
        let mut locks = containers.filter_map(|entry| std::fs::File::open(entry.path().join("lock")).ok());
        locks.all(|lock| Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok())
    }

    /// Cgroup directories of this node that have a name with `part`.
    pub(crate) fn cgroups(&self, part: &str) -> Vec<PathBuf> {
        let hierarchies = mizzen_runtime::oci::Hierarchies::discover().unwrap();
        let below = hierarchies.directories(&self.cgroup).into_iter().filter_map(|dir| std::fs::read_dir(dir.path).ok());
        let names = below.flatten().filter_map(|entry| Some(entry.ok()?.path()));
        names.filter(|path| path.is_dir() && path.to_string_lossy().contains(part)).collect()
    }
}

pub(crate) fn open(dir: &Path) -> Arc<OciRuntime> {
    OciRuntime::new(OciConfig { root: dir.join("state"), shim: path("mizzen-shim") }).unwrap()
}

impl Drop for Node {
    fn drop(&mut self) {
        // Whatever the test left: kill by cgroup, then take the cgroups away.
        let hierarchies = mizzen_runtime::oci::Hierarchies::discover().unwrap();
        let pods = hierarchies.directories(&self.cgroup);
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && !(pods.iter().all(|pod| remove(&pod.path)) && self.shims_are_gone()) {
            std::thread::yield_now();
        }
    }
}

fn remove(path: &Path) -> bool {
    let children = std::fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    for child in children {
        remove(&child.path());
    }
    for pid in std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    std::fs::remove_dir(path).is_ok() || !path.exists()
}

/// Everything a session prints, and its exit code.
pub(crate) async fn finish(mut session: Session) -> (i32, String, String) {
    drop(session.stdin.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let stderr = async {
        if let Some(stderr) = &mut session.stderr {
            stderr.read_to_end(&mut err).await.unwrap();
        }
    };
    let both = async { tokio::join!(session.stdout.read_to_end(&mut out), stderr) };
    tokio::time::timeout(Duration::from_secs(120), both).await.expect("the streams end").0.unwrap();
    let code = tokio::time::timeout(Duration::from_secs(120), session.exit).await.expect("it exits").unwrap().unwrap();
    (code, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}
