//! What a pod refers to, for the node that it runs on to read.

use std::collections::BTreeSet;

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Referred {
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
    Account,
}

const CONTAINERS: &[&str] = &["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];

/// Where a volume names a secret.
const VOLUME_SECRETS: &[&str] = &[
    "/secret/secretName",
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/cinder/secretRef/name",
    "/csi/nodePublishSecretRef/name",
    "/flexVolume/secretRef/name",
    "/iscsi/secretRef/name",
    "/rbd/secretRef/name",
    "/scaleIO/secretRef/name",
    "/storageos/secretRef/name",
];

/// Where a persistent volume names a secret, with the namespace it is in (the claim's, if there is none).
pub(super) const PERSISTENT_SECRETS: &[(&str, &str)] = &[
    ("/spec/azureFile/secretName", "/spec/azureFile/secretNamespace"),
    ("/spec/cephfs/secretRef/name", "/spec/cephfs/secretRef/namespace"),
    ("/spec/cinder/secretRef/name", "/spec/cinder/secretRef/namespace"),
    ("/spec/flexVolume/secretRef/name", "/spec/flexVolume/secretRef/namespace"),
    ("/spec/iscsi/secretRef/name", "/spec/iscsi/secretRef/namespace"),
    ("/spec/rbd/secretRef/name", "/spec/rbd/secretRef/namespace"),
    ("/spec/scaleIO/secretRef/name", "/spec/scaleIO/secretRef/namespace"),
    ("/spec/storageos/secretRef/name", "/spec/storageos/secretRef/namespace"),
    ("/spec/csi/nodePublishSecretRef/name", "/spec/csi/nodePublishSecretRef/namespace"),
    ("/spec/csi/nodeStageSecretRef/name", "/spec/csi/nodeStageSecretRef/namespace"),
    ("/spec/csi/nodeExpandSecretRef/name", "/spec/csi/nodeExpandSecretRef/namespace"),
    ("/spec/csi/controllerPublishSecretRef/name", "/spec/csi/controllerPublishSecretRef/namespace"),
];

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The places in a pod that [`of`] looks at.
pub(super) fn looked_at() -> Vec<String> {
    const ELSEWHERE: &[&str] = &[
        "/metadata/name",
        "/metadata/annotations",
        "/spec/serviceAccountName",
        "/spec/imagePullSecrets",
        "/spec/resourceClaims",
        "/status/resourceClaimStatuses",
    ];
    const OF_VOLUMES: &[&str] =
        &["/name", "/configMap/name", "/persistentVolumeClaim/claimName", "/ephemeral", "/projected/sources"];
    let of_containers = CONTAINERS.iter().flat_map(|at| [format!("{at}/env/valueFrom"), format!("{at}/envFrom")]);
    let of_volumes = VOLUME_SECRETS.iter().chain(OF_VOLUMES).map(|at| format!("/spec/volumes{at}"));
    ELSEWHERE.iter().map(|at| (*at).to_owned()).chain(of_containers).chain(of_volumes).collect()
}

/// Everything in the pod's own namespace that its spec names. A mirror pod, which a node may make itself, gives nothing.
pub(super) fn of(pod: &Value) -> Vec<(Referred, Box<str>)> {
    if pod.pointer("/metadata/annotations").and_then(|annotations| annotations.get(MIRROR)).is_some() {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    let mut add = |kind: Referred, name: &str| {
        if !name.is_empty() {
            found.insert((kind, Box::<str>::from(name)));
        }
    };
    add(Referred::Account, text(pod, "/spec/serviceAccountName"));
    list(pod, "/spec/imagePullSecrets").for_each(|secret| add(Referred::Secret, text(secret, "/name")));
    for container in CONTAINERS.iter().flat_map(|containers| list(pod, containers)) {
        for variable in list(container, "/env") {
            add(Referred::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
            add(Referred::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name"));
        }
        for source in list(container, "/envFrom") {
            add(Referred::Secret, text(source, "/secretRef/name"));
            add(Referred::ConfigMap, text(source, "/configMapRef/name"));
        }
    }
    for volume in list(pod, "/spec/volumes") {
        VOLUME_SECRETS.iter().for_each(|at| add(Referred::Secret, text(volume, at)));
        add(Referred::ConfigMap, text(volume, "/configMap/name"));
        add(Referred::Claim, text(volume, "/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some_and(|ephemeral| !ephemeral.is_null()) {
            add(Referred::Claim, &format!("{}-{}", text(pod, "/metadata/name"), text(volume, "/name")));
        }
        for source in list(volume, "/projected/sources") {
            add(Referred::Secret, text(source, "/secret/name"));
            add(Referred::ConfigMap, text(source, "/configMap/name"));
        }
    }
    let claims = list(pod, "/spec/resourceClaims").chain(list(pod, "/status/resourceClaimStatuses"));
    claims.for_each(|claim| add(Referred::ResourceClaim, text(claim, "/resourceClaimName")));
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use mizzen_api::pick::Pick;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_refers_to_what_its_containers_and_volumes_name() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {
            "serviceAccountName": "robot", "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "init"}}}]}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "pull"}}]}],
            "volumes": [{"name": "own", "ephemeral": {}}, {"persistentVolumeClaim": {"claimName": "data"}},
                        {"csi": {"driver": "d", "nodePublishSecretRef": {"name": "publish"}}},
                        {"projected": {"sources": [{"configMap": {"name": "root"}}, {"secret": {"name": "s"}}]}}],
            "resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu-1"}, {"name": "net", "resourceClaimTemplateName": "t"}]},
            "status": {"resourceClaimStatuses": [{"name": "net", "resourceClaimName": "p-net-1"}]}});
        let picked = Pick::of(looked_at().iter().map(String::as_str)).from_slice(pod.to_string().as_bytes()).expect("is JSON");
        assert_eq!(of(&picked), of(&pod), "nothing else is looked at");
        let found: Vec<String> = of(&pod).into_iter().map(|(kind, name)| format!("{kind:?} {name}")).collect();
        assert_eq!(
            found,
            [
                "Secret init",
                "Secret publish",
                "Secret pull",
                "Secret s",
                "ConfigMap root",
                "ConfigMap settings",
                "Claim data",
                "Claim p-own",
                "ResourceClaim gpu-1",
                "ResourceClaim p-net-1",
                "Account robot"
            ]
        );
        pod["metadata"]["annotations"] = json!({MIRROR: "x"});
        assert!(of(&pod).is_empty(), "a node could make it itself");
    }
}
