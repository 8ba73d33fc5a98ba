//! What a pod's annotations ask of its network.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use mizzen_api::quantity::Quantity;
use mizzen_network::Bandwidth;

use crate::error::HookError;

/// Kubernetes': bits per second.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// Addresses with prefix lengths, with commas between them, and a hardware address, for CNI plugins that take them.
const IPS: &str = "mizzen.dev/cni-ips";
const MAC: &str = "mizzen.dev/cni-mac";

/// As Kubernetes has it: 1k to 1P.
const LEAST: u64 = 1_000;
const MOST: u64 = 1_000_000_000_000_000;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) bandwidth: Bandwidth,
    pub(super) ips: Vec<String>,
    pub(super) mac: Option<String>,
}

impl Wishes {
    /// # Errors
    /// When a bandwidth is no quantity, or out of bounds.
    pub(super) fn of(pod: &Pod) -> Result<Self, HookError> {
        let Some(annotations) = &pod.metadata.annotations else { return Ok(Self::default()) };
        let ips = annotations.get(IPS).map(String::as_str).unwrap_or_default();
        Ok(Self {
            bandwidth: Bandwidth { ingress: rate(annotations, INGRESS)?, egress: rate(annotations, EGRESS)? },
            ips: ips.split(',').map(str::trim).filter(|ip| !ip.is_empty()).map(str::to_owned).collect(),
            mac: annotations.get(MAC).cloned(),
        })
    }
}

fn rate(annotations: &BTreeMap<String, String>, name: &str) -> Result<Option<u64>, HookError> {
    let Some(text) = annotations.get(name) else { return Ok(None) };
    let wrong = |why: &str| HookError::Config(format!("annotation {name}: {text:?} {why}"));
    let quantity: Quantity = text.parse().map_err(|_| wrong("is no quantity, such as 10M"))?;
    let rate = u64::try_from(quantity.value()).ok().filter(|rate| (LEAST..=MOST).contains(rate));
    rate.map(Some).ok_or_else(|| wrong("is not 1k to 1P"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_are_bounds_and_wishes() {
        let of = |annotations: serde_json::Value| {
            let pod = json!({"metadata": {"annotations": annotations}});
            Wishes::of(&serde_json::from_value(pod).expect("is a pod")).map_err(|error| error.to_string())
        };
        assert_eq!(of(json!({})), Ok(Wishes::default()));
        let wishes = of(json!({(INGRESS): "10M", (EGRESS): "1500k", (IPS): "10.1.0.9/16, fd00::9/64"})).expect("is valid");
        assert_eq!(wishes.bandwidth, Bandwidth { ingress: Some(10_000_000), egress: Some(1_500_000) });
        assert_eq!(wishes.ips, ["10.1.0.9/16", "fd00::9/64"]);
        assert!(of(json!({(INGRESS): "fast"})).expect_err("is wrong").ends_with("\"fast\" is no quantity, such as 10M"));
        assert!(of(json!({(EGRESS): "1"})).expect_err("is wrong").ends_with("\"1\" is not 1k to 1P"));
    }
}
