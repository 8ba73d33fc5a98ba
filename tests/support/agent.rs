//! The real `mizzen agent` in a folder of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::cluster::Cluster;
use crate::config;
use crate::executables::mizzen;
use crate::folder::Folder;
use crate::lan::Machine;
use crate::wait::eventually;

pub struct Agent {
    folder: Folder,
    name: String,
    /// Where it runs, if not on the real machine.
    machine: Option<Machine>,
    config: String,
    process: Option<Child>,
}

impl Agent {
    /// Makes the node's credentials and starts it; it need not be Ready yet.
    ///
    /// # Panics
    /// When the server has no keys yet.
    pub fn start_for(cluster: &Cluster, name: &str) -> Self {
        Self::new(cluster, name, None, "")
    }

    fn new(cluster: &Cluster, name: &str, machine: Option<&Machine>, config: &str) -> Self {
        let (folder, machine) = (Folder::new(), machine.cloned());
        let mut agent = Self { folder, name: name.to_owned(), machine, config: config.to_owned(), process: None };
        std::fs::write(agent.kubeconfig(), cluster.node_kubeconfig(name)).expect("writes");
        agent.start();
        agent
    }

    /// A node of the cluster on a machine of a [`crate::Lan`], called as the machine is; it need not be Ready yet.
    ///
    /// # Panics
    /// When the server has no keys yet.
    pub fn start_on(cluster: &Cluster, machine: &Machine, config: &str) -> Self {
        Self::new(cluster, &machine.name, Some(machine), config)
    }

    /// A node of the cluster that is Ready.
    ///
    /// # Panics
    /// When it does not join; with what it said.
    pub fn join(cluster: &Cluster, name: &str) -> Self {
        let mut agent = Self::start_for(cluster, name);
        agent.wait_ready();
        agent
    }

    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self) {
        let out = File::create(self.out()).expect("makes");
        let err = File::options().create(true).append(true).open(self.err()).expect("makes");
        let mut agent = mizzen();
        agent.args(["agent", "--data-dir"]).arg(self.data()).arg("--kubeconfig").arg(self.kubeconfig());
        let config = self.folder.path().join("config.yaml");
        std::fs::write(&config, config::of_a_test(&self.config)).expect("writes");
        agent.arg("--config").arg(config);
        if let Some(machine) = &self.machine {
            agent = machine.inside(&agent);
        }
        self.process = Some(agent.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("mizzen starts"));
    }

    /// # Panics
    /// When it ends instead; with what it said.
    pub fn wait_ready(&mut self) {
        eventually(&format!("agent {} says that its node is Ready", self.name), || {
            if let Some(status) = self.process.as_mut().expect("the agent runs").try_wait().expect("waits") {
                panic!("mizzen agent ended with {status}:\n{}", self.said());
            }
            std::fs::read_to_string(self.out()).unwrap_or_default().contains("is Ready").then_some(())
        });
    }

    /// `kill -9`. The shims and containers stay.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the agent runs");
        process.kill().expect("kills");
        process.wait().expect("waits");
    }

    /// What it wrote on standard error since it was made.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.err()).unwrap_or_default()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.data()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("agent.out")
    }

    fn err(&self) -> PathBuf {
        self.folder.path().join("agent.err")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("mizzen agent of {} said:\n{}", self.name, self.said());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.folder.down_in(self.machine.as_ref().map(Machine::pin));
    }
}
