//! The real `mizzen hollow`: simulated nodes of a cluster.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::Cluster;
use crate::executables::mizzen;
use crate::folder::Folder;
use crate::wait::eventually_within;

/// Thousands of nodes take a while to register.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Hollow {
    folder: Folder,
    process: Option<Child>,
}

impl Hollow {
    /// Nodes that are Ready, by flags of `mizzen hollow` and a profile (docs/hollow-nodes.md).
    ///
    /// # Panics
    /// When they do not come up; with what it said.
    pub fn start(cluster: &Cluster, flags: &[&str], profile: &str) -> Self {
        let mut hollow = Self::begin(cluster, flags, profile);
        eventually_within(PATIENCE, "mizzen hollow says that its nodes are Ready", || {
            if let Some(status) = hollow.process.as_mut()?.try_wait().expect("waits") {
                panic!("mizzen hollow ended with {status}:\n{}", hollow.said());
            }
            hollow.said().contains("are Ready").then_some(())
        });
        hollow
    }

    /// As [`Hollow::start`], without waiting for the nodes.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn begin(cluster: &Cluster, flags: &[&str], profile: &str) -> Self {
        let folder = Folder::new();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("profile.yaml"), profile).expect("writes");
        let mut hollow = mizzen();
        hollow.args(["hollow", "--kubeconfig"]).arg(cluster.kubeconfig()).args(flags);
        hollow.arg("--profile").arg(path("profile.yaml"));
        hollow.stdin(Stdio::null()).stdout(File::create(path("out")).expect("makes"));
        hollow.stderr(File::create(path("err")).expect("makes"));
        let process = Some(hollow.spawn().expect("mizzen starts"));
        Self { folder, process }
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// SIGINT, after which the nodes are gone; answers the exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn interrupt(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("mizzen hollow runs");
        let pid = Pid::from_raw(process.id().try_into().expect("a pid"));
        kill(pid, Signal::SIGINT).expect("signals");
        process.wait().expect("waits").code()
    }

    /// `kill -9`: the nodes stay, for the server to find out.
    ///
    /// # Panics
    /// When it does not run.
    pub fn abandon(&mut self) {
        let mut process = self.process.take().expect("mizzen hollow runs");
        process.kill().expect("kills");
        process.wait().expect("waits");
    }

    /// What it said, to the log and in print.
    pub fn said(&self) -> String {
        ["out", "err"].map(|name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()).concat()
    }
}

impl Drop for Hollow {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
