//! A cluster of the real `mizzen up` in a folder of its own.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{Ran, run};
use crate::config;
use crate::door::Door;
use crate::executables::mizzen;
use crate::folder::Folder;
use crate::lan::Machine;
use crate::leftovers;
use crate::ports::Port;
use crate::wait::eventually;

pub struct Cluster {
    /// `up` or `server`.
    command: &'static str,
    folder: Folder,
    port: Port,
    environment: Vec<(String, PathBuf)>,
    arguments: Vec<String>,
    /// Where it runs, if not on the real machine, and how the test reaches its API.
    machine: Option<(Machine, Door)>,
    process: Option<Child>,
}

impl Cluster {
    /// A new cluster whose node is Ready.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// A new cluster without a node: `mizzen server`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn server() -> Self {
        let mut cluster = Self::down_with("server", &[]);
        cluster.start();
        cluster
    }

    /// The same as [`Cluster::up`] with variables in the environment of `mizzen up`.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up_with(environment: &[(&str, &Path)]) -> Self {
        let mut cluster = Self::down_with("up", environment);
        cluster.start();
        cluster
    }

    /// A cluster that is yet to be started.
    fn down_with(command: &'static str, environment: &[(&str, &Path)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (folder, port) = (Folder::new(), Port::reserve());
        Self { command, folder, port, environment, arguments: Vec::new(), machine: None, process: None }
    }

    /// [`Cluster::up`] on a machine of a [`crate::Lan`]; kubectl and the like are the real machine's.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up_on(machine: &Machine, config: &str) -> Self {
        let mut cluster = Self::down_with("up", &[]);
        let door = Door::open(None, Some(machine.pin()), cluster.port.number());
        cluster.machine = Some((machine.clone(), door));
        cluster.configure(config);
        cluster.start();
        cluster
    }

    /// [`Cluster::up`] with further arguments.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up_with_arguments(arguments: &[&str]) -> Self {
        let mut cluster = Self::down_with("up", &[]);
        cluster.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        cluster.start();
        cluster
    }

    /// The same with a configuration file (docs/configuration.md).
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up_configured(config: &str) -> Self {
        let mut cluster = Self::down_with("up", &[]);
        cluster.configure(config);
        cluster.start();
        cluster
    }

    /// The same with further arguments as well.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up_configured_with_arguments(config: &str, arguments: &[&str]) -> Self {
        let mut cluster = Self::down_with("up", &[]);
        cluster.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        cluster.configure(config);
        cluster.start();
        cluster
    }

    /// [`Cluster::server`] with a configuration file (docs/configuration.md).
    ///
    /// # Panics
    /// When it does not come up.
    pub fn server_configured(config: &str) -> Self {
        let mut cluster = Self::down_with("server", &[]);
        cluster.configure(config);
        cluster.start();
        cluster
    }

    /// Gives the next start this configuration file.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.config(), config::of_a_test(config)).expect("writes");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// Runs `mizzen up` (or `server`) and waits for its line.
    ///
    /// # Panics
    /// When it does not come up; with what it said.
    pub fn start(&mut self) {
        let (out, err) = (self.folder.path().join("up.out"), self.err());
        let mut up = mizzen();
        up.args([self.command, "--node-name", "test-node", "--data-dir"]).arg(self.data());
        let address = match &self.machine {
            None => self.api(),
            Some(_) => self.port.on(Ipv4Addr::UNSPECIFIED.into()),
        };
        up.arg("--api-address").arg(address.to_string()).arg("--kubeconfig").arg(self.kubeconfig());
        up.args(&self.arguments);
        if !self.config().exists() {
            self.configure("");
        }
        up.arg("--config").arg(self.config());
        up.env("MIZZEN_LOG", std::env::var("MIZZEN_LOG").unwrap_or_else(|_| "info".into()));
        up.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some((machine, _)) = &self.machine {
            up = machine.inside(&up);
        }
        up.stdin(Stdio::null()).stdout(File::create(&out).expect("makes"));
        up.stderr(File::options().create(true).append(true).open(&err).expect("makes"));
        let process = self.process.insert(up.spawn().expect("mizzen starts"));
        eventually("mizzen up says that the node is Ready", || {
            if let Some(status) = process.try_wait().expect("waits") {
                panic!("mizzen up ended with {status}:\n{}", std::fs::read_to_string(&err).unwrap_or_default());
            }
            std::fs::read_to_string(&out).unwrap_or_default().to_lowercase().contains("is ready").then_some(())
        });
        // Controllers make these, and a pod made before has no account: nobody but a test is that quick.
        eventually("the namespace is furnished", || {
            self.get(&["serviceaccount/default", "configmap/kube-root-ca.crt", "-n", "default"]).map(drop)
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
        let mut down = mizzen();
        down.args(["down", "--data-dir"]).arg(self.data());
        let ran = match &self.machine {
            None => run(&mut down),
            Some((machine, _)) => run(&mut machine.inside(&down)),
        };
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
        self.folder.data()
    }

    /// What `mizzen kubeconfig --node` makes for a node.
    ///
    /// # Panics
    /// When the server has no keys yet.
    pub fn node_kubeconfig(&self, name: &str) -> String {
        let mut kubeconfig = mizzen();
        kubeconfig.args(["kubeconfig", "--node", name, "--data-dir"]).arg(self.data());
        if let Some((machine, _)) = &self.machine {
            kubeconfig.arg("--server").arg(format!("https://{}:{}", machine.address, self.port.number()));
        }
        run(&mut kubeconfig).ok()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    pub fn api(&self) -> SocketAddr {
        self.port.address()
    }

    fn err(&self) -> PathBuf {
        self.folder.path().join("up.err")
    }

    /// What `mizzen up` logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.err()).unwrap_or_default()
    }

    /// The id that names of bridge, cgroups and namespaces derive from.
    ///
    /// # Panics
    /// When the cluster was never up.
    pub fn id(&self) -> String {
        leftovers::cluster_id(&self.data())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if self.process.is_some() {
                eprintln!(
                    "{}{}",
                    self.mizzen(&["get", "pods", "-A", "-o", "wide"]).stdout,
                    self.mizzen(&["get", "events", "-A"]).stdout
                );
            }
            eprintln!("mizzen up said:\n{}", self.log());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.folder.down_in(self.machine.as_ref().map(|(machine, _)| machine.pin()));
    }
}

/// The answer of `GET /` at an address, by curl.
pub fn http(address: IpAddr, port: u16) -> Ran {
    run(Command::new("curl").args(["-sS", "--max-time", "30", &format!("http://{address}:{port}/")]))
}
