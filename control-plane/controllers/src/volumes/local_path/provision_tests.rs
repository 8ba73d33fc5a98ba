use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::provision::{Refusal, asked_for, volume};

fn typed<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("is one")
}

fn claim() -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "data", "uid": "7f", "annotations": {
            "volume.kubernetes.io/storage-provisioner": "mizzen.dev/local-path", "volume.kubernetes.io/selected-node": "n1"}},
        "spec": {"storageClassName": "local-path", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn made(claim: &Value) -> Result<Value, Refusal> {
    let class: StorageClass =
        typed(&json!({"metadata": {"name": "local-path"}, "provisioner": "mizzen.dev/local-path", "reclaimPolicy": "Retain"}));
    let node: Node = typed(&json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "host-1"},
        "annotations": {"mizzen.dev/local-path": "/data/volumes"}}}));
    volume(&typed::<PersistentVolumeClaim>(claim), &class, &node)
}

#[test]
fn a_claim_gets_a_folder_of_the_node_where_it_is_used_under_its_own_name() {
    let volume = made(&claim()).expect("is made");
    assert_eq!(volume["metadata"]["name"], "pvc-7f");
    assert_eq!(volume["spec"]["local"]["path"], "/data/volumes/pvc-7f_shop_data");
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["spec"]["claimRef"]["uid"], "7f");
    let term = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(term["values"], json!(["host-1"]));
}

#[test]
fn what_no_folder_can_be_is_refused_for_good_and_a_node_without_one_for_now() {
    let with = |pointer: &str, field: &str, value: Value| {
        let mut claim = claim();
        claim.pointer_mut(pointer).expect("is there")[field] = value;
        made(&claim).expect_err("is refused")
    };
    assert_eq!(with("/spec", "accessModes", json!(["ReadWriteMany"])), Refusal::AccessMode("ReadWriteMany".into()));
    assert_eq!(with("/spec", "volumeMode", json!("Block")), Refusal::Block);
    assert_eq!(with("/spec", "selector", json!({})), Refusal::Selector);
    assert!(!Refusal::Block.may_pass() && Refusal::Node("n1".into()).may_pass());
}

#[test]
fn only_claims_of_the_class_that_have_a_node_and_no_volume_are_asked_about() {
    assert_eq!(asked_for(&typed(&claim())), Some("n1"));
    for (pointer, field, value) in [
        ("/spec", "volumeName", json!("other")),
        ("/metadata", "deletionTimestamp", json!("2026-01-01T00:00:00Z")),
        ("/metadata/annotations", "volume.kubernetes.io/storage-provisioner", json!("example.com/other")),
    ] {
        let mut claim = claim();
        claim.pointer_mut(pointer).expect("is there")[field] = value;
        assert_eq!(asked_for(&typed(&claim)), None, "{field}");
    }
}
