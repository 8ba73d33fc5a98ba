use std::sync::Arc;

use mizzen_api::Object;
use serde_json::{Value, json};

use super::decide::{Class, ForClaim, ForVolume, for_claim, for_volume};
use super::view::{Claim, Consumer, Volume};

fn object(document: &Value) -> Arc<Object> {
    Arc::new(Object::new(document.to_string(), 0))
}

fn volume(name: &str, size: &str, change: impl FnOnce(&mut Value)) -> Volume {
    let spec = json!({"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "storageClassName": "slow",
        "volumeMode": "Filesystem", "persistentVolumeReclaimPolicy": "Retain"});
    let mut document = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": {"disk": name}},
        "spec": spec, "status": {"phase": "Available"}});
    change(&mut document);
    Volume::of(&object(&document)).expect("is a volume")
}

fn claim(change: impl FnOnce(&mut Value)) -> Claim {
    let spec =
        json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "slow", "resources": {"requests": {"storage": "1Gi"}}});
    let mut document = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "n", "name": "data", "uid": "u1"}, "spec": spec});
    change(&mut document);
    Claim::of(&object(&document)).expect("is a claim")
}

fn plain(name: &str, size: &str) -> Volume {
    volume(name, size, |_| {})
}

fn of_other(document: &mut Value) {
    document["spec"]["claimRef"] = json!({"namespace": "n", "name": "data", "uid": "u0"});
}

fn bound(name: &str) -> ForClaim {
    ForClaim::Bind(name.to_owned())
}

#[test]
fn a_claim_gets_the_smallest_volume_that_suits_it() {
    let none = |_: &mut Value| {};
    let volumes = [
        plain("large", "5Gi"),
        plain("fits", "2Gi"),
        plain("small", "500Mi"),
        volume("taken", "1Gi", of_other),
        volume("goes", "1Gi", |v| v["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()),
        volume("fast", "1Gi", |v| v["spec"]["storageClassName"] = "fast".into()),
        volume("block", "1Gi", |v| v["spec"]["volumeMode"] = "Block".into()),
        volume("released", "1Gi", |v| v["status"]["phase"] = "Released".into()),
        volume("shared", "1Gi", |v| v["spec"]["accessModes"] = json!(["ReadOnlyMany"])),
    ];
    assert_eq!(for_claim(&claim(none), &volumes, &Class::Unknown, None), bound("fits"));
    let chosen = claim(|c| c["spec"]["selector"] = json!({"matchLabels": {"disk": "large"}}));
    assert_eq!(for_claim(&chosen, &volumes, &Class::Unknown, None), bound("large"));
    let modes = claim(|c| c["spec"]["accessModes"] = json!(["ReadWriteMany"]));
    assert!(matches!(for_claim(&modes, &volumes, &Class::Unknown, None), ForClaim::Wait { reason: "ProvisioningFailed", .. }));
}

#[test]
fn a_volume_that_is_kept_for_a_claim_is_its_own_also_when_claims_wait_for_pods() {
    let kept = volume("kept", "9Gi", |v| v["spec"]["claimRef"] = json!({"namespace": "n", "name": "data"}));
    let volumes = [plain("fits", "1Gi"), kept];
    let waits = Class::Known { provisioner: "kubernetes.io/no-provisioner".into(), waits: true };
    assert_eq!(for_claim(&claim(|_| {}), &volumes, &waits, None), bound("kept"));
    let wait = for_claim(&claim(|_| {}), &volumes[..1], &waits, None);
    assert!(matches!(wait, ForClaim::Wait { reason: "WaitForFirstConsumer", .. }), "{wait:?}");
    let made = Class::Known { provisioner: "example.com/disks".into(), waits: false };
    let provision =
        |node: Option<&str>| ForClaim::Provision { provisioner: "example.com/disks".into(), node: node.map(Into::into) };
    assert_eq!(for_claim(&claim(|_| {}), &[], &made, None), provision(None));
    // The pod has its node: what is there is taken or made.
    let consumer = Consumer { node: "n1".into(), labels: Arc::default() };
    let local = |name: &str, node: &str| {
        let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
        volume(name, "1Gi", |v| v["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [term]}}))
    };
    let volumes = [local("elsewhere", "n2"), local("here", "n1")];
    assert_eq!(for_claim(&claim(|_| {}), &volumes, &waits, Some(&consumer)), bound("here"));
    let made = Class::Known { provisioner: "example.com/disks".into(), waits: true };
    assert_eq!(for_claim(&claim(|_| {}), &volumes[..1], &made, Some(&consumer)), provision(Some("n1")));
}

#[test]
fn a_claim_that_names_its_volume_gets_that_or_none() {
    let names = |change: fn(&mut Value)| {
        claim(move |c| {
            c["spec"]["volumeName"] = "named".into();
            change(c);
        })
    };
    let none = |_: &mut Value| {};
    assert_eq!(for_claim(&names(none), &[plain("named", "1Gi")], &Class::Unknown, None), bound("named"));
    let small = for_claim(&names(none), &[plain("named", "1Mi")], &Class::Unknown, None);
    assert!(matches!(small, ForClaim::Wait { warning: true, reason: "VolumeMismatch", .. }), "{small:?}");
    let taken = for_claim(&names(none), &[volume("named", "1Gi", of_other)], &Class::Unknown, None);
    assert!(matches!(taken, ForClaim::Wait { reason: "FailedBinding", .. }), "{taken:?}");
    let was_bound = |c: &mut Value| c["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes".into();
    assert!(matches!(for_claim(&names(was_bound), &[], &Class::Unknown, None), ForClaim::Lost { reason: "ClaimLost", .. }));
    let misbound = for_claim(&names(was_bound), &[volume("named", "1Gi", of_other)], &Class::Unknown, None);
    assert!(matches!(misbound, ForClaim::Lost { reason: "ClaimMisbound", .. }));
}

#[test]
fn a_volume_is_available_bound_or_released() {
    let mine = |v: &mut Value| v["spec"]["claimRef"] = json!({"namespace": "n", "name": "data", "uid": "u1"});
    let with = |name: &'static str| claim(move |c| c["spec"]["volumeName"] = name.into());
    assert_eq!(for_volume(&plain("a", "1Gi"), None), ForVolume::Phase("Available"));
    assert_eq!(for_volume(&volume("a", "1Gi", mine), Some(&with("a"))), ForVolume::Phase("Bound"));
    assert_eq!(for_volume(&volume("a", "1Gi", mine), Some(&with("b"))), ForVolume::Free);
    assert_eq!(for_volume(&volume("a", "1Gi", mine), Some(&with(""))), ForVolume::Leave);
    assert_eq!(for_volume(&volume("a", "1Gi", mine), None), ForVolume::Phase("Released"));
    // A claim of the same name that came later is another one.
    assert_eq!(for_volume(&volume("a", "1Gi", of_other), Some(&with("a"))), ForVolume::Phase("Released"));
    let goes = volume("a", "1Gi", |v| {
        mine(v);
        v["status"]["phase"] = "Released".into();
        v["spec"]["persistentVolumeReclaimPolicy"] = "Delete".into();
    });
    assert_eq!(for_volume(&goes, None), ForVolume::NotDeleted);
}
