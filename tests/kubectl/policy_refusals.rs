//! What is not to be put to work as an admission policy is not, says why, and does no harm; and no policy keeps itself in place.

use mizzen_tests::command::Ran;
use mizzen_tests::executables::guest;
use mizzen_tests::{Cluster, Kubectl, Registry, eventually, images};
use serde_json::Value;

fn policy(cluster: &Cluster, name: &str, image: &str, more: &str) {
    cluster.kubectl_apply(&format!(
        "apiVersion: mizzen.dev/v1alpha1\nkind: ClusterAdmissionPolicy\nmetadata: {{name: {name}}}\nspec:\n  image: {image}\n  \
         refreshSeconds: 1\n  matchConstraints: {{resourceRules: [{{apiGroups: ['', mizzen.dev], apiVersions: ['*'], operations: \
         ['*'], resources: [configmaps, clusteradmissionpolicies]}}]}}\n{more}"
    ));
}

fn create(cluster: &Cluster, name: &str) -> Ran {
    cluster.kubectl(&["create", "configmap", name])
}

/// Waits until the policy's condition `Ready` has a reason; answers its message.
#[track_caller]
fn refused(cluster: &Cluster, name: &str, reason: &str) -> String {
    eventually(&format!("{name} is refused: {reason}"), || {
        let object = cluster.kubectl(&["get", "clusteradmissionpolicy", name, "-o", "json"]).ok();
        let object: Value = serde_json::from_str(&object).expect("JSON");
        let mut conditions = object["status"]["conditions"].as_array()?.iter();
        let ready = conditions.find(|condition| condition["type"] == "Ready")?;
        let is_it = ready["status"] == "False" && ready["reason"] == reason;
        is_it.then(|| ready["message"].as_str().unwrap_or_default().to_owned())
    })
}

/// A component of nothing but names.
fn hollow(import: &str, export: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {import} (instance $i) (export \"{export}\" (instance $i)))")).expect("is one")
}

#[test]
fn bad_components_are_refused_by_their_faults_and_block_nobody() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let good = std::fs::read(guest("policy_v1")).expect("reads");
    let other_world = std::fs::read(guest("hello_http")).expect("reads");
    let shell = "(import \"evil:host/shell@0.1.0\" (instance (export \"run\" (func))))";
    // A custom section of 65 MiB: its length (LEB128) counts its name's length and its name.
    let mut huge = b"\0asm\x0d\0\x01\0\0\x82\x80\xc0\x20\x01x".to_vec();
    huge.resize(huge.len() + (65 << 20), 0);
    let cases: [(&str, Vec<u8>, &str, &str, &str); 7] = [
        ("truncated", good[..good.len() / 2].to_vec(), "", "CompileFailed", "cannot be compiled"),
        ("nonsense", b"\0asm\x0d\0\x01\0and then this".to_vec(), "", "CompileFailed", "cannot be compiled"),
        ("world", other_world, "", "WrongWorld", "exports neither mizzen:scheduler/plugin nor mizzen:policy/policy"),
        (
            "version",
            hollow("", "mizzen:policy/policy@0.9.0"),
            "",
            "WrongVersion",
            "was built for mizzen:policy/policy@0.9.0, this server offers versions 0.2 and 0.1",
        ),
        (
            "ungranted",
            hollow(shell, "mizzen:policy/policy@0.2.0"),
            "",
            "CapabilityMissing",
            "imports evil:host/shell@0.1.0, which is not granted",
        ),
        (
            "unknown",
            hollow(shell, "mizzen:policy/policy@0.2.0"),
            "  capabilities: ['evil:host/shell']\n",
            "CapabilityMissing",
            "imports evil:host/shell@0.1.0, which this server does not offer",
        ),
        ("huge", huge, "", "TooLarge", "is too large"),
    ];
    for (name, bytes, more, reason, why) in cases {
        let image = images::component(&registry, &bytes, &format!("{name}:v1"));
        policy(&cluster, name, &image, more);
        let said = refused(&cluster, name, reason);
        assert!(said.contains(why), "{name}: {said}");
    }
    // A policy that was never loaded is not asked, though its failurePolicy is Fail.
    create(&cluster, "passes").ok();
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).ok();
    assert!(metrics.contains("mizzen_policy_loaded{policy=\"huge\",policy_namespace=\"\",digest=\"\"} 0"), "{metrics}");
    // Each is as good as new once its image is.
    images::component(&registry, &good, "truncated:v1");
    cluster.kubectl_wait("condition=Ready", &["clusteradmissionpolicy/truncated"]);
}

#[test]
fn a_policy_that_was_loaded_and_is_lost_refuses_until_it_is_there_again() {
    let mut cluster = Cluster::server();
    let registry = Registry::start();
    let image = images::wasm(&registry, "policy_v1", "labels:v1");
    policy(&cluster, "team", &image, "");
    cluster.kubectl_wait("condition=Ready", &["clusteradmissionpolicy/team"]);
    create(&cluster, "first").ok();
    cluster.stop();
    std::fs::remove_dir_all(cluster.data().join("plugins")).expect("is there");
    drop(registry);
    cluster.start();
    let said = create(&cluster, "second").err();
    assert!(said.contains("failed calling admission policy \"team\": it is not loaded"), "{said}");
    // The object itself says what is to be done then.
    cluster.kubectl(&["patch", "cap", "team", "--type=merge", "-p", r#"{"spec":{"failurePolicy":"Ignore"}}"#]).ok();
    eventually("it is let pass", || (create(&cluster, "second").code == Some(0)).then_some(()));
}

#[test]
fn a_policy_that_denies_everything_can_be_deleted_even_where_it_guards_policies() {
    let cluster = Cluster::server();
    let registry = Registry::start();
    let image = images::wasm(&registry, "policy_v1", "labels:v1");
    // No object has this label.
    let denies = "  settings: {labels: [never]}\n  backgroundAudit: false\n";
    policy(&cluster, "everything", &image, denies);
    cluster.kubectl_wait("condition=Ready", &["clusteradmissionpolicy/everything"]);
    create(&cluster, "a").err();
    cluster.kubectl(&["label", "cap", "everything", "still=mine"]).ok();

    policy(&cluster, "everything", &image, &format!("{denies}  matchPluginObjects: true\n"));
    let label = |value: &str| cluster.kubectl(&["label", "--overwrite", "cap", "everything", &format!("still={value}")]);
    let mut tries = 0..;
    let said = eventually("it guards itself", || {
        let ran = label(&format!("n{}", tries.next().unwrap_or(0)));
        (ran.code != Some(0)).then_some(ran.stderr)
    });
    assert!(said.contains("admission policy \"everything\" denied the request"), "{said}");
    let said = cluster.kubectl(&["patch", "cap", "everything", "--type=merge", "-p", r#"{"spec":{"mode":"warn"}}"#]).err();
    assert!(said.contains("denied the request"), "{said}");
    cluster.kubectl(&["delete", "cap", "everything"]).ok();
    eventually("nobody denies any more", || (create(&cluster, "a").code == Some(0)).then_some(()));
}
