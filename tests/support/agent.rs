//! The real `mizzen agent` in a folder of its own.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::Cluster;
use crate::command::run;
use crate::config;
use crate::executables::mizzen;
use crate::far::FarMachine;
use crate::folder::Folder;
use crate::lan::Machine;
use crate::wait::eventually;

/// Where an agent runs.
enum Place {
    /// Beside the server.
    Here,
    Lan(Machine),
    Far(FarMachine),
}

pub struct Agent {
    folder: Folder,
    name: String,
    place: Place,
    /// Beside data folder and configuration.
    arguments: Vec<String>,
    config: String,
    process: Option<Child>,
}

impl Agent {
    /// Makes the node's credentials and starts it; it need not be Ready yet.
    ///
    /// # Panics
    /// When the server has no keys yet.
    pub fn start_for(cluster: &Cluster, name: &str) -> Self {
        Self::with_credentials(cluster, name, Place::Here, "")
    }

    fn with_credentials(cluster: &Cluster, name: &str, place: Place, config: &str) -> Self {
        let mut agent = Self::new(name, place);
        config.clone_into(&mut agent.config);
        std::fs::write(agent.kubeconfig(), cluster.node_kubeconfig(name)).expect("writes");
        agent.arguments = vec!["--kubeconfig".to_owned(), agent.kubeconfig().display().to_string()];
        agent.start();
        agent
    }

    /// A node of the cluster on a machine of a [`crate::Lan`], called as the machine is; it need not be Ready yet.
    ///
    /// # Panics
    /// When the server has no keys yet.
    pub fn start_on(cluster: &Cluster, machine: &Machine, config: &str) -> Self {
        Self::with_credentials(cluster, &machine.name, Place::Lan(machine.clone()), config)
    }

    /// One that joins by a token; it need not be Ready yet. `more` are further arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_by_token(cluster: &Cluster, name: &str, token: &str, more: &[&str], machine: Option<FarMachine>) -> Self {
        let mut agent = Self::new(name, machine.map_or(Place::Here, Place::Far));
        agent.join_with(cluster, token, more);
        agent.start();
        agent
    }

    fn new(name: &str, place: Place) -> Self {
        let config = String::new();
        Self { folder: Folder::new(), name: name.to_owned(), place, arguments: Vec::new(), config, process: None }
    }

    /// Lets it join at its next start.
    pub fn join_with(&mut self, cluster: &Cluster, token: &str, more: &[&str]) {
        let server = format!("https://{}", cluster.api());
        let own = ["--server", &server, "--token", token, "--node-name", &self.name];
        self.arguments = own.iter().chain(more).map(|argument| (*argument).to_owned()).collect();
    }

    /// Starts it without a token, a server or a name, from now on: it knows them.
    pub fn forget_arguments(&mut self) {
        self.arguments.clear();
    }

    /// # Panics
    /// When it runs on another one.
    pub fn machine(&self) -> &FarMachine {
        match &self.place {
            Place::Far(machine) => machine,
            _ => panic!("{} has no machine that is far", self.name),
        }
    }

    fn mizzen(&self) -> Command {
        match &self.place {
            Place::Here => mizzen(),
            Place::Lan(machine) => machine.inside(&mizzen()),
            Place::Far(machine) => machine.mizzen(),
        }
    }

    /// Takes away what does not outlive a machine: processes, mounts, namespaces, addresses. It must not run.
    ///
    /// # Panics
    /// When something stays.
    pub fn lose_power(&self) {
        run(self.mizzen().args(["down", "--data-dir"]).arg(self.data())).ok();
    }

    /// The same, with the disk.
    ///
    /// # Panics
    /// When something stays.
    pub fn lose_disk(&self) {
        run(self.mizzen().args(["down", "--delete-data", "--data-dir"]).arg(self.data())).ok();
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
        let mut agent = self.mizzen();
        agent.args(["agent", "--data-dir"]).arg(self.data()).args(&self.arguments);
        let config = self.folder.path().join("config.yaml");
        std::fs::write(&config, config::of_a_test(&self.config)).expect("writes");
        agent.arg("--config").arg(config);
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

    /// SIGTERM, as when the machine is shut down. The shims and containers stay.
    ///
    /// # Panics
    /// When it does not run, or does not end well.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the agent runs");
        kill(Pid::from_raw(process.id().try_into().expect("a process id")), Signal::SIGTERM).expect("signals");
        let status = process.wait().expect("waits");
        assert!(status.success(), "mizzen agent ended with {status}:\n{}", self.said());
    }

    /// What it wrote on standard error since it was made.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.err()).unwrap_or_default()
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
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
        match &self.place {
            Place::Here => self.folder.down(),
            Place::Lan(machine) => self.folder.down_in(Some(machine.pin())),
            Place::Far(_) => {
                let _ = run(self.mizzen().args(["down", "--delete-data", "--data-dir"]).arg(self.data()));
                self.folder.down();
            }
        }
    }
}
