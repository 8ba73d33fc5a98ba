//! A cluster of the real `mizzen up` in a folder of its own.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ran, run};
use crate::executables::mizzen;
use crate::registry::free_address;
use crate::wait::eventually;

pub struct Cluster {
    dir: TempDir,
    api: SocketAddr,
    process: Option<Child>,
}

impl Cluster {
    /// A new cluster whose node is Ready.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up() -> Self {
        let mut cluster = Self { dir: tempfile::tempdir().expect("a folder"), api: free_address(), process: None };
        cluster.start();
        cluster
    }

    /// Runs `mizzen up` and waits for its line.
    ///
    /// # Panics
    /// When it does not come up; with what it said.
    pub fn start(&mut self) {
        let out = File::create(self.out()).expect("makes");
        let err = File::options().create(true).append(true).open(self.err()).expect("makes");
        let mut up = mizzen();
        up.args(["up", "--node-name", "test-node", "--data-dir"]).arg(self.data());
        up.arg("--api-address").arg(self.api.to_string()).arg("--kubeconfig").arg(self.kubeconfig());
        up.env("MIZZEN_LOG", std::env::var("MIZZEN_LOG").unwrap_or_else(|_| "info".into()));
        let process = up.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("mizzen starts");
        let process = self.process.insert(process);
        let ready = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().contains("is Ready");
        let (out, err) = (self.dir.path().join("up.out"), self.dir.path().join("up.err"));
        eventually("mizzen up says that the node is Ready", || {
            if let Some(status) = process.try_wait().expect("waits") {
                panic!("mizzen up ended with {status}:\n{}", std::fs::read_to_string(&err).unwrap_or_default());
            }
            ready(&out).then_some(())
        });
    }

    /// `kill -9` of the server and agent. The shims and containers stay.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the cluster is up");
        process.kill().expect("kills");
        process.wait().expect("waits");
    }

    /// SIGTERM; answers the exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("the cluster is up");
        let pid = Pid::from_raw(process.id().try_into().expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("signals");
        process.wait().expect("waits").code()
    }

    /// `mizzen down`, keeping the data.
    pub fn down(&mut self) -> Ran {
        let ran = run(mizzen().args(["down", "--data-dir"]).arg(self.data()));
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
        ran
    }

    /// The process of server and agent, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    pub fn api(&self) -> SocketAddr {
        self.api
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("up.out")
    }

    fn err(&self) -> PathBuf {
        self.dir.path().join("up.err")
    }

    /// The id that names of bridge, cgroups and namespaces derive from.
    ///
    /// # Panics
    /// When the cluster was never up.
    pub fn id(&self) -> String {
        let text = std::fs::read(self.data().join("cluster.json")).expect("the cluster has an identity");
        let identity: Value = serde_json::from_slice(&text).expect("is JSON");
        identity["cluster"].as_str().expect("has an id").to_owned()
    }

    /// kubectl with the cluster's administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Ran {
        run(&mut self.kubectl_command(arguments))
    }

    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command
    }

    /// `kubectl apply -f -`.
    ///
    /// # Panics
    /// When kubectl refuses.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        let ran = self.pipe(&["apply", "-f", "-"], manifest);
        ran.ok()
    }

    /// kubectl with a standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn pipe(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(stdin.as_bytes()).and_then(|()| std::io::Seek::rewind(&mut file)).expect("writes");
        run(self.kubectl_command(arguments).stdin(file))
    }

    /// An object as JSON; `None` when there is none of that name.
    ///
    /// # Panics
    /// When kubectl fails for another reason.
    pub fn get(&self, what: &[&str]) -> Option<Value> {
        let ran = self.kubectl(&[&["get", "-o", "json"], what].concat());
        if ran.stderr.contains("NotFound") {
            return None;
        }
        Some(serde_json::from_str(&ran.ok()).expect("is JSON"))
    }

    /// Waits for `kubectl wait`'s condition.
    ///
    /// # Panics
    /// When it does not come about, with the state of the pods.
    #[track_caller]
    pub fn wait_for(&self, condition: &str, what: &[&str]) {
        let condition = format!("--for={condition}");
        let ran = self.kubectl(&[&["wait", &condition, "--timeout=60s"], what].concat());
        if ran.code != Some(0) {
            let pods = self.kubectl(&["describe", "pods", "-A"]).stdout;
            let log = std::fs::read_to_string(self.err()).unwrap_or_default();
            panic!("{}\n{}{}\n{pods}\n{log}", ran.line, ran.stdout, ran.stderr);
        }
    }

    /// The address of a pod.
    ///
    /// # Panics
    /// When it has none.
    pub fn pod_address(&self, pod: &str) -> IpAddr {
        let pod = self.get(&["pod", pod]).expect("the pod is there");
        pod["status"]["podIP"].as_str().expect("the pod has an address").parse().expect("is an address")
    }

    /// The names of the pods with a label.
    pub fn pods(&self, selector: &str) -> Vec<String> {
        let list = self.get(&["pods", "-l", selector]).unwrap_or_default();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("mizzen up said:\n{}", std::fs::read_to_string(self.err()).unwrap_or_default());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        let down = run(mizzen().args(["down", "--delete-data", "--data-dir"]).arg(self.data()));
        if down.code != Some(0) {
            eprintln!("mizzen down failed: {}{}", down.stdout, down.stderr);
        }
    }
}

/// The answer of `GET /` at an address, by curl.
pub fn http(address: IpAddr, port: u16) -> Ran {
    run(Command::new("curl").args(["-sS", "--max-time", "5", &format!("http://{address}:{port}/")]))
}
