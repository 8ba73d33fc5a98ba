//! What `kubectl get pods` shows (`printers/internalversion.printPod`).

use jiff::Timestamp;
use serde_json::Value;

use super::super::value::{flag, int, list, text};
use crate::Pointed as _;
use crate::descriptor::Column;
use crate::print::{age, or_none, since};

pub(super) const COLUMNS: &[Column] = &[
    Column::text("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    Column::text("Status", "The aggregate status of the containers in this pod."),
    Column::text("Restarts", "How often the containers of this pod were restarted, and when last."),
    Column::AGE,
    Column::wide("IP", "The pod's first address."),
    Column::wide("Node", "The node that the pod is bound to."),
    Column::wide("Nominated Node", "The node that is being made free for the pod."),
    Column::wide("Readiness Gates", "How many of the pod's further readiness conditions are true."),
];

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match &summary.last_restart {
        Some(last) if summary.restarts > 0 => format!("{} ({} ago)", summary.restarts, since(last, now)),
        _ => summary.restarts.to_string(),
    };
    let ip = list(pod, "/status/podIPs").first().map_or_else(|| text(pod, "/status/podIP"), |ip| text(ip, "/ip"));
    let gates = list(pod, "/spec/readinessGates");
    let open = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType")) == "True").count();
    [
        format!("{}/{}", summary.ready, summary.total),
        summary.reason,
        restarts,
        age(pod, now),
        or_none(ip).to_owned(),
        or_none(text(pod, "/spec/nodeName")).to_owned(),
        or_none(text(pod, "/status/nominatedNodeName")).to_owned(),
        if gates.is_empty() { "<none>".to_owned() } else { format!("{open}/{}", gates.len()) },
    ]
    .into_iter()
    .map(Value::String)
    .collect()
}

#[derive(Default)]
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<String>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let mut summary = Self { total: list(pod, "/spec/containers").len(), ..Self::default() };
        let phase = text(pod, "/status/phase");
        let own = text(pod, "/status/reason");
        summary.reason = (if own.is_empty() { phase } else { own }).to_owned();
        let gated = list(pod, "/status/conditions")
            .iter()
            .any(|condition| text(condition, "/type") == "PodScheduled" && text(condition, "/reason") == "SchedulingGated");
        if gated {
            "SchedulingGated".clone_into(&mut summary.reason);
        }
        let initializing = summary.add_init_containers(pod);
        if !initializing || condition(pod, "Initialized") == "True" {
            summary.add_containers(pod);
        }
        if pod.at("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
            if own == "NodeLost" {
                "Unknown".clone_into(&mut summary.reason);
            } else if !matches!(phase, "Failed" | "Succeeded") {
                "Terminating".clone_into(&mut summary.reason);
            }
        }
        summary
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts = self.restarts.saturating_add(int(status, "/restartCount").unwrap_or(0));
        let finished = text(status, "/lastState/terminated/finishedAt");
        // Timestamps of one format and zone: the order of the texts is that of the times.
        if !finished.is_empty() && self.last_restart.as_deref().is_none_or(|last| last < finished) {
            self.last_restart = Some(finished.to_owned());
        }
    }

    /// Whether some init container is still to end.
    fn add_init_containers(&mut self, pod: &Value) -> bool {
        let init = list(pod, "/spec/initContainers");
        let is_sidecar = |name: &str| {
            init.iter().any(|container| text(container, "/name") == name && text(container, "/restartPolicy") == "Always")
        };
        self.total += init.iter().filter(|container| text(container, "/restartPolicy") == "Always").count();
        let mut initializing = false;
        let mut all = Self::default();
        for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            all.count_restarts(status);
            let sidecar = is_sidecar(text(status, "/name"));
            if sidecar {
                self.count_restarts(status);
            }
            let (terminated, waiting) = (status.at("/state/terminated"), text(status, "/state/waiting/reason"));
            match terminated {
                Some(terminated) if int(terminated, "/exitCode") == Some(0) => continue,
                _ if sidecar && flag(status, "/started") => {
                    self.ready += usize::from(flag(status, "/ready"));
                    continue;
                }
                Some(terminated) => self.reason = format!("Init:{}", end_reason(terminated)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => self.reason = format!("Init:{waiting}"),
                None => self.reason = format!("Init:{index}/{}", init.len()),
            }
            initializing = true;
            break;
        }
        if initializing && condition(pod, "Initialized") != "True" {
            (self.restarts, self.last_restart) = (all.restarts, all.last_restart);
        }
        initializing
    }

    fn add_containers(&mut self, pod: &Value) {
        let mut running = false;
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.count_restarts(status);
            let waiting = text(status, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if let Some(terminated) = status.at("/state/terminated") {
                self.reason = end_reason(terminated);
            } else if flag(status, "/ready") && status.at("/state/running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = condition(pod, "Ready") == "True";
            (if ready { "Running" } else { "NotReady" }).clone_into(&mut self.reason);
        }
    }
}

/// The status of a condition, empty when the pod has none of the type.
fn condition<'a>(pod: &'a Value, kind: &str) -> &'a str {
    list(pod, "/status/conditions").iter().find(|condition| text(condition, "/type") == kind).map_or("", |c| text(c, "/status"))
}

fn end_reason(terminated: &Value) -> String {
    match (text(terminated, "/reason"), int(terminated, "/signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", int(terminated, "/exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(spec: Value, status: Value, metadata: Value) -> [String; 3] {
        let mut metadata = metadata;
        metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        let pod = json!({"metadata": metadata, "spec": spec, "status": status});
        let now = "2026-01-01T01:00:00Z".parse().expect("a timestamp");
        let cells = cells(&pod, now);
        assert_eq!(cells.len(), COLUMNS.len());
        assert_eq!(cells[3], "60m");
        [0, 1, 2].map(|index| cells[index].as_str().expect("a text").to_owned())
    }

    fn running(ready: bool, restarts: i64) -> Value {
        json!({"name": "a", "ready": ready, "restartCount": restarts, "state": {"running": {}},
            "lastState": if restarts > 0 { json!({"terminated": {"finishedAt": "2026-01-01T00:59:50Z"}}) } else { json!({}) }})
    }

    #[test]
    fn pods_show_what_kubectl_shows() {
        let one = || json!({"containers": [{"name": "a"}]});
        let two = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let init = || json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
        let sidecar = || json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
        let done = json!({"name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}});
        for (spec, status, metadata, expected) in [
            (one(), json!({"phase": "Pending"}), json!({}), ["0/1", "Pending", "0"]),
            (
                one(),
                json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}),
                json!({}),
                ["0/1", "ContainerCreating", "0"],
            ),
            (one(), json!({"phase": "Running", "containerStatuses": [running(true, 0)]}), json!({}), ["1/1", "Running", "0"]),
            (
                one(),
                json!({"phase": "Running", "containerStatuses": [running(false, 3)]}),
                json!({}),
                ["0/1", "Running", "3 (10s ago)"],
            ),
            (
                one(),
                json!({"phase": "Running", "containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                json!({}),
                ["0/1", "CrashLoopBackOff", "2"],
            ),
            (one(), json!({"phase": "Succeeded", "containerStatuses": [done]}), json!({}), ["0/1", "Completed", "0"]),
            (
                one(),
                json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}),
                json!({}),
                ["0/1", "ExitCode:3", "0"],
            ),
            (
                one(),
                json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"signal": 9, "exitCode": 137}}}]}),
                json!({}),
                ["0/1", "Signal:9", "0"],
            ),
            (
                two(),
                json!({"phase": "Running", "containerStatuses": [running(true, 0), done]}),
                json!({}),
                ["1/2", "NotReady", "0"],
            ),
            (
                init(),
                json!({"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}),
                json!({}),
                ["0/1", "Init:1/2", "0"],
            ),
            (
                init(),
                json!({"phase": "Pending", "initContainerStatuses": [
                    {"name": "i", "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                json!({}),
                ["0/1", "Init:CrashLoopBackOff", "1"],
            ),
            (
                init(),
                json!({"phase": "Failed", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
                json!({}),
                ["0/1", "Init:Error", "0"],
            ),
            (
                sidecar(),
                json!({"phase": "Running", "containerStatuses": [running(true, 0)],
                    "initContainerStatuses": [{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}]}),
                json!({}),
                ["2/2", "Running", "1"],
            ),
            (
                one(),
                json!({"phase": "Running", "containerStatuses": [running(true, 0)]}),
                json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
                ["1/1", "Terminating", "0"],
            ),
            (one(), json!({"phase": "Failed", "reason": "Evicted"}), json!({}), ["0/1", "Evicted", "0"]),
            (
                one(),
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                json!({}),
                ["0/1", "SchedulingGated", "0"],
            ),
        ] {
            assert_eq!(row(spec, status.clone(), metadata), expected, "{status}");
        }
    }
}
