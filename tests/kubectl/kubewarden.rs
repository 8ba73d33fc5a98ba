//! Policies of Kubewarden, built with Kubewarden's own SDK and pushed as `kwctl` does, unchanged in a cluster.

use mizzen_tests::command::run;
use mizzen_tests::executables::mizzen;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, kubewarden};
use serde_json::{Value, json};

use super::plugins::{condition, deploy, of, policy, ready, refused};

pub(super) fn metadata(mode: &str, mutating: bool, kinds: &[&str]) -> Value {
    let kinds: Vec<Value> = kinds.iter().map(|kind| json!({"apiVersion": "v1", "kind": kind})).collect();
    json!({
        "protocolVersion": "v1",
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE"]}],
        "annotations": {"io.kubewarden.policy.title": "owned", "io.kubewarden.policy.version": "1.0.0"},
        "mutating": mutating, "backgroundAudit": true, "executionMode": mode, "policyType": "kubernetes",
        "contextAwareResources": kinds,
    })
}

#[track_caller]
fn not_ready(cluster: &Cluster, name: &str, reason: &str, why: &str) {
    let message = eventually("it is refused", || {
        let (_, found, message) = condition(&of(cluster, name), "Ready");
        (found == reason).then_some(message)
    });
    assert!(message.contains(why), "{message}");
}

fn annotations(cluster: &Cluster, deployment: &str) -> String {
    cluster.kubectl(&["get", "deployment", deployment, "-o", "jsonpath={.metadata.annotations}"]).ok()
}

#[test]
fn a_wapc_policy_refuses_changes_and_asks_for_namespaces() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let image = kubewarden::policy(&registry, "owned", &metadata("kubewarden-wapc", true, &[]), "policies/owned:v1");
    policy(&cluster, "owned", &image, "");
    ready(&cluster, "owned");
    let said = deploy(&cluster, "nobodys", "").err();
    assert!(said.contains("admission policy \"owned\" denied the request: it has no label \"owner\""), "{said}");
    deploy(&cluster, "anns", "owner: ann").ok();

    // It says itself whether its settings are right.
    policy(&cluster, "owned", &image, "  settings: {owners: []}\n");
    not_ready(&cluster, "owned", "InvalidSettings", "nobody is left who could own anything");
    policy(&cluster, "owned", &image, "  settings: {owners: [bob]}\n");
    ready(&cluster, "owned");
    refused(&cluster, "nobodys", "it has no label");
    assert!(deploy(&cluster, "anns-second", "owner: ann").err().contains("ann is no owner"));

    // It changes what it is allowed to change.
    policy(&cluster, "owned", &image, "  settings: {stamp: example.com/owner}\n  mutating: true\n");
    eventually("it puts its stamp on it", || {
        cluster.kubectl(&["delete", "deployment", "stamped", "--ignore-not-found"]).ok();
        deploy(&cluster, "stamped", "owner: ann").ok();
        annotations(&cluster, "stamped").contains("\"example.com/owner\":\"ann\"").then_some(())
    });
    assert!(annotations(&cluster, "stamped").contains("\"kept\":\"yes\""));
    cluster.kubectl(&["delete", "clusteradmissionpolicy", "owned"]).ok();

    // And asks for what its metadata names, where the object grants that.
    let curious = metadata("kubewarden-wapc", false, &["Namespace"]);
    let image = kubewarden::policy(&registry, "owned", &curious, "policies/owned:v2");
    policy(&cluster, "asking", &image, "  settings: {by_namespaces: true}\n");
    not_ready(&cluster, "asking", "CapabilityMissing", "v1 Namespace");
    policy(&cluster, "asking", &image, "  settings: {by_namespaces: true}\n  capabilities: [context]\n");
    ready(&cluster, "asking");
    cluster.kubectl_apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: of-ann, labels: {owner: ann}}\n");
    eventually("it has seen the namespace", || (deploy(&cluster, "anns-third", "owner: ann").code == Some(0)).then_some(()));
    let said = deploy(&cluster, "bobs", "owner: bob").err();
    assert!(said.contains("bob has no namespace, those have: of-ann"), "{said}");
    assert!(cluster.log().contains("ann is an owner"), "its lines are in the server's log");
}

#[test]
fn a_wasi_policy_refuses_and_changes_and_a_rego_one_says_why_it_cannot_run() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let image = kubewarden::policy(&registry, "owned-wasi", &metadata("wasi", true, &[]), "policies/owned-wasi:v1");
    policy(&cluster, "program", &image, "  settings: {stamp: example.com/owner, owners: [ann]}\n  mutating: true\n");
    ready(&cluster, "program");
    let said = deploy(&cluster, "bobs", "owner: bob").err();
    assert!(said.contains("admission policy \"program\" denied the request: bob is no owner"), "{said}");
    deploy(&cluster, "anns", "owner: ann").ok();
    assert!(annotations(&cluster, "anns").contains("\"example.com/owner\":\"ann\""));
    policy(&cluster, "program", &image, "  settings: {owners: []}\n");
    not_ready(&cluster, "program", "InvalidSettings", "nobody is left");

    let rego = kubewarden::policy(&registry, "owned-wasi", &metadata("gatekeeper", false, &[]), "policies/rego:v1");
    policy(&cluster, "rego", &rego, "");
    not_ready(&cluster, "rego", "Unsupported", "execution mode gatekeeper");
}

#[test]
fn the_author_of_a_kubewarden_policy_inspects_tests_and_measures_it() {
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("owned.wasm");
    let module = kubewarden::annotated("owned", &metadata("kubewarden-wapc", true, &["Namespace"]));
    std::fs::write(&file, module).unwrap();
    let plugin = |arguments: &[&str]| run(mizzen().arg("plugin").args(arguments).env("MIZZEN_PLUGIN_CACHE", work.path()));
    let file = file.to_str().unwrap();
    let said = plugin(&["inspect", file]).ok();
    for wanted in ["a Kubewarden policy (waPC, protocol v1)", "owned 1.0.0", "mutating   yes", "v1 Namespace", "wapc.__host_call"]
    {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let table = r#"
cases:
- name: nobody's
  request: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b}}}
  expect: {message: it has no label, code: 422, warnings: [owners are required]}
- name: stamped
  settings: {stamp: by}
  request: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b, labels: {owner: ann}}}}
  expect: {object: {metadata: {annotations: {by: ann}}}}
- name: known by its namespace
  settings: {by_namespaces: true}
  context:
  - {apiVersion: v1, kind: Namespace, metadata: {name: b, labels: {owner: ann}}}
  request: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b, labels: {owner: ann}}}}
  expect: {allowed: true}
- name: wrong settings
  settings: {owners: []}
  expect: {settingsError: nobody is left}
"#;
    std::fs::write(work.path().join("tests.yaml"), table).unwrap();
    assert!(plugin(&["test", file]).ok().contains("4 passed, 0 failed"));
    assert!(plugin(&["bench", file, "--seconds", "1"]).ok().contains("reviews"));
}

#[test]
fn a_policy_finds_out_who_may_do_what_where_a_name_leads_and_what_an_image_is_where_that_is_granted() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let mut curious = metadata("kubewarden-wapc", false, &[]);
    curious["hostCapabilities"] = json!(["kubernetes/can_i", "net/v1/dns_lookup_host", "oci/v1/manifest_digest"]);
    let image = kubewarden::policy(&registry, "owned", &curious, "policies/outside:v1");
    let settings = format!("  settings: {{outside: {{user: ann, host: localhost, image: \"{image}\"}}}}\n");
    policy(&cluster, "outside", &image, &format!("{settings}  capabilities: [net/*, oci/v1/manifest_digest]\n"));
    not_ready(&cluster, "outside", "CapabilityMissing", "kubernetes/can_i");
    policy(
        &cluster,
        "outside",
        &image,
        &format!("{settings}  capabilities: [kubernetes/can_i, net/*, oci/v1/manifest_digest]\n"),
    );
    ready(&cluster, "outside");
    let said = deploy(&cluster, "a", "owner: ann").err();
    assert!(said.contains("ann may create pods: false; localhost is at ") && said.contains("127.0.0.1"), "{said}");
    let digest = of(&cluster, "outside")["status"]["manifestDigest"].as_str().unwrap_or_default().to_owned();
    assert!(digest.starts_with("sha256:") && said.contains(&format!("{image} is {digest}")), "{digest}: {said}");
    cluster.kubectl(&["create", "rolebinding", "ann", "--clusterrole=edit", "--user=ann"]).ok();
    eventually("it is told of the new rights", || {
        deploy(&cluster, "a", "owner: ann").err().contains("ann may create pods: true").then_some(())
    });
}
