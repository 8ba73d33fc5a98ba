//! The cluster through mizzen's own client, which is there on every machine.

use std::io::{Seek, Write};
use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::command::{Ran, run};
use crate::executables::mizzen;
use crate::wait::eventually;

/// That a container has started says nothing of what its program listens on.
pub const ANSWERS: &str = "readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}";

impl Cluster {
    /// `mizzen get|apply|describe|logs|exec|delete` as the cluster's administrator.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn mizzen(&self, arguments: &[&str]) -> Ran {
        run(&mut self.mizzen_command(arguments))
    }

    /// # Panics
    /// When there are no arguments.
    pub fn mizzen_command(&self, arguments: &[&str]) -> Command {
        let (subcommand, rest) = arguments.split_first().expect("a subcommand");
        let mut command = mizzen();
        command.arg(subcommand).arg("--kubeconfig").arg(self.kubeconfig()).args(rest);
        command
    }

    /// Applies a manifest.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        run(self.mizzen_command(&["apply", "-f", "-"]).stdin(text(manifest))).ok()
    }

    /// A pod of one container that serves HTTP on port 8080, made and answering.
    ///
    /// # Panics
    /// When it does not get there.
    #[track_caller]
    pub fn run(&self, name: &str, image: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {{name: {name}, image: '{image}', {ANSWERS}}}\n"
        ));
        self.ready(name);
    }

    /// Waits until a pod is Ready.
    ///
    /// # Panics
    /// When it does not get there.
    #[track_caller]
    pub fn ready(&self, pod: &str) {
        self.until(&["pod", pod], "is Ready", |pod| is(pod, "Ready").then_some(()));
    }

    /// Asks for an object until `look` finds something in it.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn until<T>(&self, object: &[&str], what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        eventually(&format!("{} {what}", object.join(" ")), || look(&self.get(object)?))
    }

    /// An object or list as JSON; `None` when there is none of that name.
    ///
    /// # Panics
    /// When the server cannot be asked.
    #[track_caller]
    pub fn get(&self, what: &[&str]) -> Option<Value> {
        let ran = self.mizzen(&[&["get", "-o", "json"], what].concat());
        if ran.stderr.contains("not found") {
            return None;
        }
        Some(serde_json::from_str(&ran.ok()).expect("is JSON"))
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

    /// Messages of the events about an object, oldest first.
    pub fn events(&self, object: &str) -> Vec<String> {
        let events = self.whole_events(object);
        events.iter().filter_map(|event| event["message"].as_str()).map(str::to_owned).collect()
    }

    /// The events about an object, oldest first.
    pub fn whole_events(&self, object: &str) -> Vec<Value> {
        let selector = format!("involvedObject.name={object}");
        let list = self.get(&["events", "--field-selector", &selector]).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

/// Whether a condition of the object holds.
pub fn is(object: &Value, condition: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|entry| entry["type"] == condition && entry["status"] == "True")
}

/// A standard input that says this.
pub fn text(text: &str) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("writes");
    file
}
