//! The kubelet's Summary API, `stats/v1alpha1`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::sample::{PodUse, Sample};

pub(super) fn of(node: &str, sample: &Sample) -> Value {
    let machine = &sample.machine;
    let mut memory = memory(sample.at, machine.working_set);
    memory["availableBytes"] = machine.memory_available.into();
    memory["usageBytes"] = machine.memory_used.into();
    let mut about = json!({
        "nodeName": node,
        "startTime": time(machine.booted),
        "cpu": cpu(sample.at, machine.cpu, sample.node_pace),
        "memory": memory,
    });
    if let Some((total, available)) = sample.disk {
        let disk = json!({
            "time": time(sample.at), "capacityBytes": total, "availableBytes": available, "usedBytes": total - available,
        });
        about["runtime"] = json!({"imageFs": disk.clone()});
        about["fs"] = disk;
    }
    json!({"node": about, "pods": sample.pods.iter().map(|used| pod(used, sample.at)).collect::<Vec<_>>()})
}

fn pod(used: &PodUse, at: Timestamp) -> Value {
    let containers = used.containers.iter().map(|container| {
        json!({
            "name": container.name,
            "startTime": container.started.map(time),
            "cpu": cpu(at, container.cpu, container.pace),
            "memory": memory(at, container.memory),
        })
    });
    let containers: Vec<_> = containers.collect();
    json!({
        "podRef": {"name": used.name, "namespace": used.namespace, "uid": used.uid},
        "startTime": used.started.map(time),
        "containers": containers,
        "cpu": cpu(at, used.cpu, used.pace()),
        "memory": memory(at, used.memory()),
    })
}

fn cpu(at: Timestamp, total: u64, pace: Option<u64>) -> Value {
    let mut cpu = json!({"time": time(at), "usageCoreNanoSeconds": total});
    if let Some(pace) = pace {
        cpu["usageNanoCores"] = pace.into();
    }
    cpu
}

fn memory(at: Timestamp, working_set: u64) -> Value {
    json!({"time": time(at), "workingSetBytes": working_set})
}

/// RFC 3339 in whole seconds, as `metav1.Time` is written.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::sample::fixtures;
    use super::*;

    #[test]
    fn a_summary_has_the_node_its_pods_and_their_containers() {
        let summary = of("here", &fixtures::sample());
        let node = &summary["node"];
        assert_eq!((&node["nodeName"], &node["startTime"]), (&json!("here"), &json!("2014-05-13T16:53:20Z")));
        assert_eq!(node["cpu"]["usageNanoCores"], 5);
        assert_eq!(node["fs"]["usedBytes"], 40);
        let pod = &summary["pods"][0];
        assert_eq!(pod["podRef"], json!({"name": "p", "namespace": "n", "uid": "u"}));
        assert_eq!(pod["cpu"], json!({"time": "2023-11-14T22:13:20Z", "usageCoreNanoSeconds": 3_000_000_000_u64}));
        assert_eq!(pod["memory"]["workingSetBytes"], 3000);
        assert_eq!(pod["containers"][0]["cpu"]["usageNanoCores"], 7);
        assert_eq!(pod["containers"][1]["cpu"].get("usageNanoCores"), None);
    }
}
