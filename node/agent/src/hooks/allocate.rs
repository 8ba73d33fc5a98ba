//! Asks the node for other amounts of CPU and memory for a pod.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::error::HookError;
use crate::node::room::{Refusal, Share};
use crate::pod::allocation::{self, Amounts, Record};
use crate::pod::containers::lasting;
use crate::shared::Shared;
use crate::spec::resources;

/// What the pod's manifest asks for now is written down as `record`, unless the node refuses. `wasm` tells which containers
/// run as Wasm.
pub(crate) async fn allocate(
    shared: &Shared,
    pod: &Pod,
    before: &Amounts,
    wasm: &[String],
    record: &Record,
) -> Result<Result<(), Refusal>, HookError> {
    if let Some(why) = unsupported(pod, before, wasm) {
        return Ok(Err(Refusal::Infeasible(why)));
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    if let Err(refusal) = shared.room.resize(uid, Share::of(pod), &shared.capacity) {
        return Ok(Err(refusal));
    }
    allocation::write(shared, pod, record).await.map(Ok)
}

/// Why this node could not do it for any pod.
fn unsupported(pod: &Pod, before: &Amounts, wasm: &[String]) -> Option<String> {
    let always = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).is_none_or(|policy| policy == "Always");
    lasting(pod).find_map(|container: &Container| {
        let (before, now) = (before.get(&container.name)?, resources::amounts(container));
        if *before == now {
            None
        } else if wasm.contains(&container.name) {
            Some("resize of Wasm containers is not supported by this node".to_owned())
        } else if !always && resources::restarts(container, before, &now) {
            Some("resize with a restart (resizePolicy) is only supported by this node where restartPolicy is Always".to_owned())
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_this_node_cannot_do_is_said() {
        let pod = |policy: &str, cpu: &str, memory: &str| -> Pod {
            let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}},
                "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]});
            let spec = json!({"restartPolicy": policy, "containers": [container]});
            serde_json::from_value(json!({"spec": spec})).expect("is a pod")
        };
        let before = allocation::wanted(&pod("Always", "1", "1Gi"));
        let told = |pod: Pod, wasm: &[String]| unsupported(&pod, &before, wasm);
        assert_eq!(told(pod("OnFailure", "2", "1Gi"), &[]), None, "another resource's policy does not matter");
        assert_eq!(told(pod("Always", "2", "2Gi"), &[]), None);
        assert!(told(pod("OnFailure", "1", "2Gi"), &[]).is_some_and(|why| why.contains("resizePolicy")));
        let wasm = ["c".to_owned()];
        assert!(told(pod("Always", "2", "1Gi"), &wasm).is_some_and(|why| why.contains("Wasm")));
        assert_eq!(told(pod("Always", "1", "1Gi"), &wasm), None, "nothing is asked of it");
    }
}
