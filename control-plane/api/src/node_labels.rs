//! Which labels a node may give itself (KEP-279, "Limit Node Access to API").

/// Labels that a node never sets.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Of the labels of Kubernetes, those that a node may set on itself: these, and all of the domains below.
const OWN_LABELS: &[&str] = &[
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const OWN_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Whether a node may set the label on its own Node.
pub fn is_own_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if within(RESTRICTED) {
        return false;
    }
    let of_kubernetes = within("kubernetes.io") || within("k8s.io");
    !of_kubernetes || OWN_LABELS.contains(&key) || OWN_DOMAINS.iter().any(|parent| within(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_labels_itself_with_what_it_is_and_not_with_what_it_may() {
        for (label, own) in [
            ("team", true),
            ("example.com/rack", true),
            ("kubernetes.io/arch", true),
            ("node.kubernetes.io/gpu", true),
            ("a.kubelet.kubernetes.io/x", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/pci", false),
            ("x.node-restriction.kubernetes.io/pci", false),
            ("anything.k8s.io/x", false),
            ("notkubernetes.io/x", true),
        ] {
            assert_eq!(is_own_label(label), own, "{label}");
        }
    }
}
