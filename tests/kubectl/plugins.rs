//! Admission policies that are Wasm components: from a registry to a live policy, through changes, mistakes and restarts.

use mizzen_tests::command::Ran;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

const RULES: &str = "{resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}";

pub(super) fn policy(cluster: &Cluster, name: &str, image: &str, more: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: mizzen.dev/v1alpha1\nkind: ClusterAdmissionPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  image: {image}\n  refreshSeconds: 1\n  matchConstraints: {RULES}\n{more}"
    ));
}

pub(super) fn deploy(cluster: &Cluster, name: &str, labels: &str) -> Ran {
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, labels: {{{labels}}}, annotations: {{kept: 'yes'}}}}\n\
         spec:\n  replicas: 0\n  selector: {{matchLabels: {{app: {name}}}}}\n  template: {{metadata: {{labels: {{app: {name}}}}}, \
         spec: {{containers: [{{name: main, image: example.com/none:v1}}]}}}}\n"
    );
    cluster.pipe(&["create", "-f", "-"], &manifest)
}

pub(super) fn of(cluster: &Cluster, name: &str) -> Value {
    let ran = cluster.kubectl(&["get", "clusteradmissionpolicy", name, "-o", "json"]);
    serde_json::from_str(&ran.ok()).expect("JSON")
}

pub(super) fn condition(policy: &Value, kind: &str) -> (String, String, String) {
    let all = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[track_caller]
pub(super) fn ready(cluster: &Cluster, name: &str) {
    cluster.kubectl_wait("condition=Ready", &[&format!("clusteradmissionpolicy/{name}")]);
}

#[track_caller]
pub(super) fn refused(cluster: &Cluster, name: &str, why: &str) {
    let said = deploy(cluster, name, "").err();
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_policy_goes_live_is_swapped_by_its_tag_and_outlives_a_bad_one_and_its_registry() {
    let mut cluster = Cluster::server();
    let registry = Registry::start();
    let labels = images::wasm(&registry, "policy_v1", "labels:stable");
    policy(&cluster, "team", &labels, "  settings: {labels: [team]}\n");
    policy(&cluster, "stamp", &labels, "  settings: {annotation: stamp}\n  mutating: true\n");
    ready(&cluster, "team");
    ready(&cluster, "stamp");

    refused(&cluster, "without", "admission policy \"team\" denied the request: label \"team\" is missing (policy 1.0.0)");
    deploy(&cluster, "with", "team: a").ok();
    let stamped = cluster.kubectl(&["get", "deployment", "with", "-o", "jsonpath={.metadata.annotations}"]).ok();
    assert!(stamped.contains("\"stamp\":\"1.0.0\"") && stamped.contains("\"kept\":\"yes\""), "{stamped}");
    let table = cluster.kubectl(&["get", "cap"]).ok();
    for wanted in ["IMAGE", "MODE", "LOADED", "DIGEST", "AGE", "team", "enforce", "True", "sha256:"] {
        assert!(table.contains(wanted), "{wanted}: {table}");
    }

    // Another component under the same tag is put to work by itself.
    let first = of(&cluster, "team")["status"]["digest"].clone();
    images::wasm(&registry, "policy_v2", "labels:stable");
    eventually("the new one is at work", || (of(&cluster, "team")["status"]["digest"] != first).then_some(()));
    refused(&cluster, "without", "is missing (policy 2.0.0)");

    // One that cannot be loaded never replaces it.
    let good = of(&cluster, "team")["status"]["digest"].clone();
    images::not_wasm(&registry, "labels:stable");
    let (status, reason, message) = eventually("it says that the new one is bad", || {
        Some(condition(&of(&cluster, "team"), "Ready")).filter(|(status, reason, _)| status == "False" && reason != "Compiling")
    });
    assert_eq!((status.as_str(), of(&cluster, "team")["status"]["digest"] == good), ("False", true), "{reason}: {message}");
    assert!(message.contains("stays at work"), "{message}");
    assert_eq!(condition(&of(&cluster, "team"), "Loaded").0, "True");
    refused(&cluster, "without", "is missing (policy 2.0.0)");
    let events = cluster.kubectl(&["describe", "clusteradmissionpolicy", "team"]).ok();
    assert!(events.contains(&reason), "{events}");

    // Nor do settings that it does not take.
    images::wasm(&registry, "policy_v2", "labels:stable");
    ready(&cluster, "team");
    policy(&cluster, "team", &labels, "  settings: {labels: everything}\n");
    eventually("it says that the settings are wrong", || {
        (condition(&of(&cluster, "team"), "Ready").1 == "InvalidSettings").then_some(())
    });
    refused(&cluster, "without", "is missing (policy 2.0.0)");

    // A server that starts without the registry has it from its first answer on.
    drop(registry);
    cluster.stop();
    cluster.start();
    refused(&cluster, "without", "is missing (policy 2.0.0)");
    policy(&cluster, "team", &labels, "  settings: {labels: [team, tier]}\n");
    eventually("it takes the settings from what it kept", || {
        deploy(&cluster, "tierless", "team: a").stderr.contains("label \"tier\" is missing").then_some(())
    });
    assert_eq!(condition(&of(&cluster, "team"), "Ready").0, "True");
}

#[test]
fn a_policy_that_misbehaves_refuses_or_lets_pass_as_it_was_told_and_the_server_lives() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let image = images::wasm(&registry, "policy_v1", "bad:v1");
    for badly in ["trap", "loop", "grow"] {
        let limits = "  limits: {memory: 16Mi, deadlineMilliseconds: 200}\n";
        policy(&cluster, "bad", &image, &format!("  settings: {{badly: {badly}}}\n{limits}"));
        ready(&cluster, "bad");
        eventually("it fails closed", || {
            deploy(&cluster, "a", "").stderr.contains("failed calling admission policy \"bad\"").then_some(())
        });
        policy(&cluster, "bad", &image, &format!("  settings: {{badly: {badly}}}\n{limits}  failurePolicy: Ignore\n"));
        eventually("it fails open", || (deploy(&cluster, "a", "").code == Some(0)).then_some(()));
        cluster.kubectl(&["delete", "deployment", "a"]).ok();
        cluster.kubectl(&["delete", "clusteradmissionpolicy", "bad"]).ok();
        eventually("it is gone", || (deploy(&cluster, "b", "").code == Some(0)).then_some(()));
        cluster.kubectl(&["delete", "deployment", "b"]).ok();
    }
}

#[test]
fn a_policy_asks_for_objects_of_the_cluster_only_where_it_may() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let image = images::wasm(&registry, "policy_v1", "unique:v1");
    let settings = "  settings: {unique: {apiVersion: apps/v1, kind: Deployment, path: metadata.annotations.kept}}\n";
    policy(&cluster, "unique", &image, settings);
    let (_, reason, message) = eventually("it is refused", || {
        Some(condition(&of(&cluster, "unique"), "Ready")).filter(|(status, reason, _)| status == "False" && reason != "Compiling")
    });
    assert!(message.contains("context"), "{reason}: {message}");
    deploy(&cluster, "first", "").ok();
    policy(&cluster, "unique", &image, &format!("{settings}  capabilities: [context]\n"));
    ready(&cluster, "unique");
    refused(&cluster, "second", "metadata.annotations.kept \"yes\" is taken by 1 others");
    cluster.kubectl(&["delete", "deployment", "first"]).ok();
    eventually("the view follows the cluster", || (deploy(&cluster, "second", "").code == Some(0)).then_some(()));
}

#[test]
fn the_kinds_explain_themselves_and_name_wrong_fields() {
    let cluster = Cluster::server();
    for (field, wanted) in [
        ("clusteradmissionpolicies.spec", "failurePolicy"),
        ("admissionpolicies.spec.matchConstraints.resourceRules", "apiVersions"),
        ("schedulerplugins.spec.extensionPoints", "weight"),
        ("schedulerplugins.status", "manifestDigest"),
    ] {
        let explained = cluster.kubectl(&["explain", field]).ok();
        assert!(explained.contains(wanted), "{explained}");
    }
    let wrong = "apiVersion: mizzen.dev/v1alpha1\nkind: ClusterAdmissionPolicy\nmetadata: {name: a}\n\
                 spec: {image: 'two words', mode: maybe, matchConstraints: {resourceRules: []}}\n";
    let said = cluster.pipe(&["apply", "-f", "-"], wrong).err();
    for field in ["spec.image", "spec.mode", "spec.matchConstraints.resourceRules"] {
        assert!(said.contains(field), "{field}: {said}");
    }
    let apply = "apiVersion: mizzen.dev/v1alpha1\nkind: SchedulerPlugin\nmetadata: {name: a}\n\
                 spec: {image: example.com/a:v1, extensionPoints: [{name: score, weight: 3}]}\n";
    cluster.pipe(&["apply", "--server-side", "-f", "-"], apply).ok();
    assert!(cluster.kubectl(&["get", "schedplug"]).ok().contains("example.com/a:v1"));
    let gone = cluster.kubectl(&["delete", "crd", "schedulerplugins.mizzen.dev"]);
    assert!(gone.stderr.contains("not found"), "{}", gone.stderr);
}
