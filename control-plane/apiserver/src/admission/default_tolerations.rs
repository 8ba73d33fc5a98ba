//! DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or not reachable.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::{Value, json};

use super::{Attributes, Plugin};

pub(super) struct DefaultTolerations;

const SECONDS: i64 = 300;
const TAINTS: &[&str] = &["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

#[async_trait]
impl Plugin for DefaultTolerations {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if !attributes.writes_pod() {
            return Ok(());
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let Some(tolerations) = spec.entry("tolerations").or_insert_with(|| json!([])).as_array_mut() else { return Ok(()) };
        let missing: Vec<&str> =
            TAINTS.iter().copied().filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint))).collect();
        tolerations.extend(
            missing
                .into_iter()
                .map(|taint| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})),
        );
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let field = |name: &str| toleration.get(name).and_then(Value::as_str).unwrap_or_default();
    (field("key") == taint || field("key").is_empty()) && matches!(field("effect"), "NoExecute" | "")
}
