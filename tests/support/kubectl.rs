//! The cluster through the real kubectl. Only `tests/kubectl` may use it: the other tests run on machines without one.

use std::process::Command;

use crate::client::text;
use crate::cluster::Cluster;
use crate::command::{Ran, run};

pub trait Kubectl {
    fn kubectl_command(&self, arguments: &[&str]) -> Command;

    /// kubectl with the cluster's administrator.
    ///
    /// # Panics
    /// When there is no kubectl.
    fn kubectl(&self, arguments: &[&str]) -> Ran {
        run(&mut self.kubectl_command(arguments))
    }

    /// kubectl with a standard input.
    ///
    /// # Panics
    /// When there is no kubectl.
    fn pipe(&self, arguments: &[&str], stdin: &str) -> Ran {
        run(self.kubectl_command(arguments).stdin(text(stdin)))
    }

    /// `kubectl apply -f -`.
    ///
    /// # Panics
    /// When kubectl refuses.
    #[track_caller]
    fn kubectl_apply(&self, manifest: &str) -> String {
        self.pipe(&["apply", "-f", "-"], manifest).ok()
    }

    /// Waits by `kubectl wait`.
    ///
    /// # Panics
    /// When the condition does not come about, with the state of the pods.
    #[track_caller]
    fn kubectl_wait(&self, condition: &str, what: &[&str]) {
        let condition = format!("--for={condition}");
        let ran = self.kubectl(&[&["wait", &condition, "--timeout=120s"], what].concat());
        if ran.code != Some(0) {
            let pods = self.kubectl(&["describe", "pods", "-A"]).stdout;
            panic!("{}\n{}{}\n{pods}", ran.line, ran.stdout, ran.stderr);
        }
    }
}

impl Kubectl for Cluster {
    fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command
    }
}
