//! What profiles say to native plugins (`pluginConfig` of `kubescheduler.config.k8s.io/v1`).

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::balanced_allocation::BalancedAllocation;
use super::default_preemption::DefaultPreemption;
use super::inter_pod_affinity::InterPodAffinity;
use super::node_affinity::NodeAffinity;
use super::resource_fit::NodeResourcesFit;
use super::topology_spread::PodTopologySpread;
use super::volume_binding::VolumeBinding;
use crate::framework::Plugin;

/// The native plugin of the name, told this.
///
/// # Errors
/// What is wrong with it, or that the plugin takes none.
pub(crate) fn told(name: &str, args: &Value) -> Result<Arc<dyn Plugin>, String> {
    Ok(match name {
        "NodeResourcesFit" => Arc::new(NodeResourcesFit::new(&read(args)?)?),
        "NodeAffinity" => Arc::new(NodeAffinity::new(&read(args)?)?),
        "InterPodAffinity" => Arc::new(InterPodAffinity::new(read(args)?)?),
        "NodeResourcesBalancedAllocation" => Arc::new(BalancedAllocation::new(&read(args)?)?),
        "PodTopologySpread" => Arc::new(PodTopologySpread::new(read(args)?)?),
        "DefaultPreemption" => Arc::new(DefaultPreemption::new(read(args)?)?),
        "VolumeBinding" => Arc::new(VolumeBinding::new(&read(args)?)?),
        _ => return Err("takes no args here; what components are told stands in their objects".to_owned()),
    })
}

/// Whatever they call themselves.
fn read<T: DeserializeOwned>(args: &Value) -> Result<T, String> {
    let mut args = args.clone();
    if let Some(fields) = args.as_object_mut() {
        fields.retain(|field, _| !matches!(field.as_str(), "apiVersion" | "kind"));
    }
    serde_json::from_value(args).map_err(|error| format!("args: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_plugins_are_told_is_checked_and_named() {
        let good = [
            ("NodeResourcesFit", json!({"kind": "NodeResourcesFitArgs", "scoringStrategy": {"type": "MostAllocated"}})),
            ("InterPodAffinity", json!({"hardPodAffinityWeight": 5, "ignorePreferredTermsOfExistingPods": true})),
            ("NodeAffinity", json!({"addedAffinity": {}})),
            ("NodeResourcesBalancedAllocation", json!({"resources": [{"name": "cpu", "weight": 1}]})),
            ("PodTopologySpread", json!({"defaultingType": "List", "defaultConstraints": []})),
            ("VolumeBinding", json!({"kind": "VolumeBindingArgs", "shape": []})),
            ("DefaultPreemption", json!({"minCandidateNodesPercentage": 5, "minCandidateNodesAbsolute": 10})),
        ];
        for (name, args) in good {
            assert_eq!(told(name, &args).map(|plugin| plugin.name().to_owned()).as_deref(), Ok(name));
        }
        let bad = [
            ("NodeResourcesFit", json!({"scoringStrategie": {}}), "unknown field `scoringStrategie`"),
            ("NodeResourcesFit", json!({"scoringStrategy": {"type": "Best"}}), "unknown variant `Best`"),
            ("InterPodAffinity", json!({"hardPodAffinityWeight": 101}), "is not between 0 and 100"),
            ("DefaultPreemption", json!({"minCandidateNodesPercentage": 101}), "is not between 0 and 100"),
            ("VolumeBinding", json!({"bindTimeoutSeconds": 600}), "bindTimeoutSeconds: nothing waits"),
            ("VolumeBinding", json!({"shape": [{"utilization": 0, "score": 0}]}), "shape: there are no storage capacities"),
            ("VolumeBinding", json!({"bindTimeout": 600}), "unknown field `bindTimeout`"),
            ("PodTopologySpread", json!({"defaultingType": "Nearly"}), "unknown variant `Nearly`"),
            ("ImageLocality", json!({}), "takes no args here"),
        ];
        for (name, args, why) in bad {
            let said = told(name, &args).err().expect("is refused");
            assert!(said.contains(why), "{name}: {said}");
        }
    }
}
