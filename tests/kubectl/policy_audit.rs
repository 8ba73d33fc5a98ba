//! What admission policies say of what is already stored: reports as the Policy Working Group has them, and metrics.

use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images, kubewarden};
use serde_json::Value;

use super::kubewarden::metadata;

fn policy(cluster: &Cluster, name: &str, image: &str, resources: &str, more: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: mizzen.dev/v1alpha1\nkind: ClusterAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  image: {image}\n  \
         matchConstraints: {{resourceRules: [{{apiGroups: ['', apps], apiVersions: [v1], operations: [CREATE], resources: \
         [{resources}]}}]}}\n{more}"
    ));
}

fn deploy(cluster: &Cluster, name: &str, labels: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec:\n  replicas: 0\n  selector: \
         {{matchLabels: {{app: {name}}}}}\n  template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: main, \
         image: example.com/none:v1}}]}}}}\n"
    ));
}

fn reports(cluster: &Cluster, resource: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(&cluster.kubectl(&["get", resource, "-A", "-o", "json"]).ok()).expect("JSON");
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Waits for the result of a policy in the report on an object.
#[track_caller]
fn until(cluster: &Cluster, resource: &str, object: &str, policy: &str, result: &str) -> Value {
    eventually(&format!("{policy} says {result} of {object}"), || {
        let reports = reports(cluster, resource);
        let report = reports.into_iter().find(|report| report["scope"]["name"] == object)?;
        let mut results = report["results"].as_array()?.iter();
        results.find(|found| found["policy"] == policy && found["result"] == result).cloned()
    })
}

#[test]
fn what_is_stored_is_judged_in_reports_that_follow_it() {
    let cluster = Cluster::server_configured("policyAuditInterval: 1s\n");
    let registry = Registry::start();
    let image = images::wasm(&registry, "policy_v1", "labels:v1");
    deploy(&cluster, "with", "team: a");
    deploy(&cluster, "without", "");
    policy(&cluster, "team", &image, "deployments, namespaces", "  settings: {labels: [team]}\n  severity: high\n");
    let failed = until(&cluster, "policyreports", "without", "team", "fail");
    assert_eq!(failed["message"], "label \"team\" is missing (policy 1.0.0)");
    assert_eq!((&failed["source"], &failed["severity"]), (&Value::from("mizzen"), &Value::from("high")));
    until(&cluster, "policyreports", "with", "team", "pass");
    until(&cluster, "clusterpolicyreports", "default", "team", "fail");

    let table = cluster.kubectl(&["get", "policyreports", "-A", "-o", "wide"]).ok();
    for column in ["NAMESPACE", "NAME", "KIND", "PASS", "FAIL", "WARN", "ERROR", "SKIP", "AGE", "Deployment", "without"] {
        assert!(table.contains(column), "{column}: {table}");
    }
    let selected = cluster.kubectl(&["get", "polr", "-l", "app.kubernetes.io/managed-by=mizzen", "-o", "name"]).ok();
    assert_eq!(selected.lines().count(), 2, "{selected}");
    assert!(cluster.kubectl(&["explain", "policyreport.results.severity"]).ok().contains("critical"));

    // A policy that would change an object changes nothing that is stored.
    policy(&cluster, "stamp", &image, "deployments", "  settings: {annotation: stamp}\n  mutating: true\n");
    let would = until(&cluster, "policyreports", "with", "stamp", "warn");
    assert_eq!(would["message"], "the policy would change the object");
    let kept = cluster.kubectl(&["get", "deployment", "with", "-o", "jsonpath={.metadata.annotations.stamp}"]).ok();
    assert_eq!(kept, "");

    // One that traps at what is stored is none the worse for requests.
    policy(&cluster, "trap", &image, "deployments", "  settings: {badly: trap}\n  failurePolicy: Ignore\n");
    until(&cluster, "policyreports", "with", "trap", "error");
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    for wanted in [
        "mizzen_policy_loaded{policy=\"team\",policy_namespace=\"\",digest=\"sha256:",
        "mizzen_policy_breaker_state{policy=\"trap\",policy_namespace=\"\",state=\"closed\"} 1",
        "mizzen_policy_audit_results{policy=\"team\",policy_namespace=\"\",result=\"fail\"}",
        "mizzen_policy_audit_results{policy=\"trap\",policy_namespace=\"\",result=\"error\"} 2",
        "mizzen_policy_review_duration_seconds_bucket{policy=\"team\",policy_namespace=\"\",le=\"0.00001\"}",
        "mizzen_policy_memory_bytes{policy=\"team\",policy_namespace=\"\"}",
        "mizzen_policy_report_write_errors_total",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
    cluster.kubectl(&["delete", "clusteradmissionpolicy", "trap", "stamp"]).ok();

    // Reports follow their objects.
    cluster.kubectl(&["label", "deployment", "without", "team=b"]).ok();
    until(&cluster, "policyreports", "without", "team", "pass");
    cluster.kubectl(&["delete", "deployment", "with"]).ok();
    eventually("its report goes", || {
        reports(&cluster, "policyreports").iter().all(|report| report["scope"]["name"] != "with").then_some(())
    });

    // And their policies.
    cluster.kubectl(&["delete", "clusteradmissionpolicy", "team"]).ok();
    eventually("all reports go", || {
        (reports(&cluster, "policyreports").is_empty() && reports(&cluster, "clusterpolicyreports").is_empty()).then_some(())
    });
}

#[test]
fn policies_of_kubewarden_judge_what_is_stored_and_change_nothing_of_it() {
    let cluster = Cluster::server_configured("policyAuditInterval: 1s\n");
    let registry = Registry::start();
    deploy(&cluster, "anns", "owner: ann");
    deploy(&cluster, "nobodys", "");
    let image = kubewarden::policy(&registry, "owned", &metadata("kubewarden-wapc", false, &[]), "policies/owned:v1");
    policy(&cluster, "owned", &image, "deployments", "  settings: {owners: [ann]}\n");
    let failed = until(&cluster, "policyreports", "nobodys", "owned", "fail");
    assert!(failed["message"].as_str().is_some_and(|message| message.contains("it has no label \"owner\"")), "{failed}");
    until(&cluster, "policyreports", "anns", "owned", "pass");

    // One that is a program, and would put its stamp on what it allows.
    let image = kubewarden::policy(&registry, "owned-wasi", &metadata("wasi", true, &[]), "policies/owned-wasi:v1");
    policy(&cluster, "program", &image, "deployments", "  settings: {stamp: example.com/owner}\n  mutating: true\n");
    until(&cluster, "policyreports", "nobodys", "program", "fail");
    let would = until(&cluster, "policyreports", "anns", "program", "warn");
    assert_eq!(would["message"], "the policy would change the object");
    let stamped = cluster.kubectl(&["get", "deployment", "anns", "-o", "jsonpath={.metadata.annotations}"]).ok();
    assert!(!stamped.contains("example.com/owner"), "{stamped}");
}

#[test]
fn requests_are_counted_by_what_policies_decide() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let image = images::wasm(&registry, "policy_v1", "labels:v1");
    policy(&cluster, "team", &image, "configmaps", "  settings: {labels: [team]}\n  backgroundAudit: false\n");
    cluster.kubectl_wait("condition=Ready", &["clusteradmissionpolicy/team"]);
    let create = |name: &str, labels: &str| {
        let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n");
        cluster.pipe(&["create", "-f", "-"], &map)
    };
    create("without", "").err();
    create("with", "team: a").ok();
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    for wanted in [
        "mizzen_policy_decisions_total{policy=\"team\",policy_namespace=\"\",mode=\"enforce\",decision=\"deny\"} 1",
        "mizzen_policy_decisions_total{policy=\"team\",policy_namespace=\"\",mode=\"enforce\",decision=\"allow\"} 1",
        "mizzen_policy_review_duration_seconds_count{policy=\"team\",policy_namespace=\"\"} 2",
        "mizzen_policy_review_errors_total{policy=\"team\",policy_namespace=\"\"} 0",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
}
