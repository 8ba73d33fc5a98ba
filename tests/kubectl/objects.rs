//! kubectl on objects: files, reading, changing and deleting them. Nothing here needs a container to run.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use mizzen_tests::command::run;
use mizzen_tests::{Cluster, Kubectl, eventually};

#[test]
fn kubectl_applies_a_folder_and_reads_it_in_every_format() {
    let cluster = Cluster::up();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: prices, namespace: shop, labels: {tier: back}}\ndata: {tea: \"2\"}\n").unwrap();
    std::fs::write(folder.path().join("2.json"), r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"front","namespace":"shop","labels":{"tier":"front"}},"spec":{"selector":{"app":"front"},"ports":[{"port":80}]}}"#).unwrap();
    let path = folder.path().to_str().unwrap();
    let said = cluster.kubectl(&["apply", "-f", path]).ok();
    assert_eq!(said, "namespace/shop created\nconfigmap/prices created\nservice/front created\n");
    let said = cluster.kubectl(&["apply", "-f", path]).ok();
    assert_eq!(said, "namespace/shop unchanged\nconfigmap/prices unchanged\nservice/front unchanged\n");

    cluster.kubectl(&["create", "configmap", "rates", "--from-literal=eur=1", "-n", "shop"]).ok();
    let said = cluster.kubectl(&["create", "configmap", "rates", "-n", "shop"]).err();
    assert!(said.contains("\"rates\" already exists"), "{said}");

    let get = |arguments: &[&str]| cluster.kubectl(&[&["get", "-n", "shop"], arguments].concat()).ok();
    assert!(get(&["cm", "prices"]).starts_with("NAME     DATA   AGE\nprices   1 "));
    assert!(get(&["svc", "-o", "wide"]).lines().next().unwrap().ends_with("SELECTOR"));
    assert!(get(&["cm", "prices", "-o", "yaml"]).contains("\n  tea: \"2\"\nkind: ConfigMap\n"));
    assert!(get(&["cm", "prices", "-o", "json"]).contains("\"tea\": \"2\""));
    assert_eq!(get(&["cm", "prices", "-o", "jsonpath={.data.tea}"]), "2");
    assert_eq!(get(&["cm,svc", "-l", "tier in (back, front)", "-o", "name"]), "configmap/prices\nservice/front\n");
    assert_eq!(get(&["cm", "--field-selector", "metadata.name=rates", "-o", "name"]), "configmap/rates\n");
    let all = cluster.kubectl(&["get", "cm", "-A", "-l", "tier=back"]).ok();
    assert!(all.starts_with("NAMESPACE   NAME ") && all.lines().count() == 2, "{all}");
    let said = cluster.kubectl(&["get", "cm", "none", "-n", "shop"]).err();
    assert_eq!(said, "Error from server (NotFound): configmaps \"none\" not found\n");
    let described = cluster.kubectl(&["describe", "cm", "prices", "-n", "shop"]).ok();
    assert!(described.contains("Labels:       tier=back") && described.contains("tea:\n----\n2\n"), "{described}");
    let described = cluster.kubectl(&["describe", "node", "test-node"]).ok();
    for part in ["KubeletReady", "Allocatable:", "kubernetes.io/hostname=test-node"] {
        assert!(described.contains(part), "{part} in {described}");
    }

    // The namespace may have taken the others with it before kubectl asks for them.
    let said = cluster.kubectl(&["delete", "-f", path, "--ignore-not-found"]).ok();
    assert!(said.contains("namespace \"shop\" deleted"), "{said}");
    assert!(cluster.get(&["namespace", "shop"]).is_none(), "delete waits until the namespace is gone");
    assert!(cluster.get(&["cm", "rates", "-n", "shop"]).is_none());
}

#[test]
fn kubectl_watch_tells_of_changes_and_deletions() {
    let cluster = Cluster::up();
    cluster.kubectl(&["create", "configmap", "seen"]).ok();
    let mut watch = cluster.kubectl_command(&["get", "cm", "-w", "--output-watch-events", "-l", "!hidden", "--no-headers"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap).filter(|line| line.contains("seen"));
    let mut next = || lines.next().unwrap().split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    assert_eq!(next(), "ADDED seen 0");
    cluster.kubectl(&["patch", "cm", "seen", "-p", r#"{"data":{"a":"b"}}"#]).ok();
    assert_eq!(next(), "MODIFIED seen 1");
    cluster.kubectl(&["label", "cm", "seen", "hidden=yes"]).ok();
    assert_eq!(next(), "DELETED seen 1", "an object that leaves the selector leaves the watch");
    cluster.kubectl(&["label", "cm", "seen", "hidden-"]).ok();
    assert_eq!(next(), "ADDED seen 1");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn kubectl_changes_objects_by_label_annotate_edit_and_three_kinds_of_patch() {
    let cluster = Cluster::up();
    cluster.kubectl_apply(
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: one, image: 'localhost:1/one:v1'}
      - {name: two, image: 'localhost:1/two:v1'}
",
    );
    let field = |path: &str| cluster.kubectl(&["get", "deploy", "web", "-o", &format!("jsonpath={path}")]).ok();
    let change = |arguments: &[&str]| cluster.kubectl(arguments).ok();

    assert_eq!(change(&["label", "deploy", "web", "team=a"]), "deployment.apps/web labeled\n");
    let said = cluster.kubectl(&["label", "deploy", "web", "team=b"]).err();
    assert!(said.contains("already has a value (a), and --overwrite is false"), "{said}");
    change(&["label", "deploy", "web", "team-"]);
    assert_eq!(field("{.metadata.labels.team}"), "");
    change(&["annotate", "deploy", "web", "note=some words"]);
    assert_eq!(field("{.metadata.annotations.note}"), "some words");

    // A strategic patch merges lists by their key, a merge patch replaces them, a JSON patch does as it is told.
    change(&[
        "patch",
        "deploy",
        "web",
        "-p",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"two","image":"localhost:1/two:v2"}]}}}}"#,
    ]);
    assert_eq!(field("{.spec.template.spec.containers[*].image}"), "localhost:1/one:v1 localhost:1/two:v2");
    change(&[
        "patch",
        "deploy",
        "web",
        "--type=merge",
        "-p",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"two","image":"localhost:1/two:v3"}]}}}}"#,
    ]);
    assert_eq!(field("{.spec.template.spec.containers[*].image}"), "localhost:1/two:v3");
    change(&[
        "patch",
        "deploy",
        "web",
        "--type=json",
        "-p",
        r#"[{"op":"test","path":"/spec/replicas","value":0},{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"localhost:1/two:v4"}]"#,
    ]);
    assert_eq!(field("{.spec.template.spec.containers[*].image}"), "localhost:1/two:v4");
    let said =
        cluster.kubectl(&["patch", "deploy", "web", "-p", r#"{"spec":{"selector":{"matchLabels":{"app":"other"}}}}"#]).err();
    assert!(said.contains("spec.selector") && said.contains("field is immutable"), "{said}");

    let mut edit = cluster.kubectl_command(&["edit", "deploy", "web"]);
    assert_eq!(run(edit.env("KUBE_EDITOR", "sed -i s/two:v4/two:v5/")).ok(), "deployment.apps/web edited\n");
    assert_eq!(field("{.spec.template.spec.containers[*].image}"), "localhost:1/two:v5");

    let said =
        cluster.pipe(&["apply", "-f", "-"], "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  contaners: []\n").err();
    assert!(said.contains("unknown field \"spec.contaners\""), "{said}");
    let said = cluster.pipe(&["apply", "-f", "-"], "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  restartPolicy: Sometimes\n  containers: [{name: B_d, image: x}]\n").err();
    assert!(
        said.contains("spec.restartPolicy") && said.contains("spec.containers[0].name"),
        "every wrong field is named: {said}"
    );
}

#[test]
fn kubectl_apply_server_side_names_the_manager_it_conflicts_with() {
    let cluster = Cluster::up();
    let document =
        |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shared}}\ndata: {{a: \"{value}\"}}\n");
    let apply = |manager: &str, text: &str, more: &[&str]| {
        cluster.pipe(&[&["apply", "--server-side", "-f", "-", "--field-manager", manager], more].concat(), text)
    };
    assert_eq!(apply("alice", &document("1"), &[]).ok(), "configmap/shared serverside-applied\n");
    apply("bob", &document("1"), &[]).ok();
    let said = apply("carol", &document("2"), &[]).err();
    for part in ["conflict", "\"alice\"", "\"bob\"", ".data.a"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    apply("carol", &document("2"), &["--force-conflicts"]).ok();
    let data = || cluster.kubectl(&["get", "cm", "shared", "-o", "jsonpath={.data}"]).ok();
    assert_eq!(data(), r#"{"a":"2"}"#);
    let managers = ["get", "cm", "shared", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"];
    assert_eq!(cluster.kubectl(&managers).ok(), "carol", "who owns nothing any more is not named");
    apply("carol", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\n", &[]).ok();
    assert_eq!(data(), "", "what its only manager no longer applies is removed");
}

#[test]
fn kubectl_delete_cascades_in_the_background_in_the_foreground_or_not_at_all() {
    let cluster = Cluster::up();
    // The node takes nobody, so that only objects are at play.
    cluster.kubectl(&["cordon", "test-node"]).ok();
    let names = |what: &str| cluster.kubectl(&["get", what, "-l", "app=web", "-o", "name"]).ok();
    let make = || {
        cluster.kubectl(&["create", "deployment", "web", "--image=localhost:1/web:v1", "--replicas=2"]).ok();
        eventually("two pods are there", || (names("pods").lines().count() == 2).then_some(()));
    };
    make();
    cluster.kubectl(&["delete", "deploy", "web", "--cascade=background"]).ok();
    eventually("all is gone", || (names("rs,pods").is_empty()).then_some(()));

    make();
    cluster.kubectl(&["delete", "deploy", "web", "--cascade=foreground"]).ok();
    assert_eq!(names("deploy,rs,pods"), "", "a foreground deletion ends after everything that was owned");

    make();
    cluster.kubectl(&["delete", "deploy", "web", "--cascade=orphan"]).ok();
    let set = names("rs");
    assert!(set.starts_with("replicaset.apps/web-"), "{set}");
    cluster.kubectl(&["delete", set.trim(), "--cascade=orphan"]).ok();
    let pods = names("pods");
    assert_eq!(pods.lines().count(), 2);
    let owners =
        cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.ownerReferences[*].name}"]).ok();
    assert_eq!(owners, "");
    cluster.kubectl(&["delete", "pods", "-l", "app=web", "--wait=false"]).ok();
    cluster.kubectl_wait("delete", &["pods", "-l", "app=web"]);
}

#[test]
fn kubectl_explains_the_api_and_the_cluster() {
    let cluster = Cluster::up();
    let said = cluster.kubectl(&["explain", "deployment.spec.strategy.rollingUpdate"]).ok();
    assert!(said.contains("GROUP:      apps") && said.contains("maxSurge\t<IntOrString>"), "{said}");
    let said = cluster.kubectl(&["explain", "pod.spec.containers.imagePullPolicy"]).ok();
    assert!(said.contains("FIELD: imagePullPolicy <string>") && said.contains("IfNotPresent"), "{said}");
    let said = cluster.kubectl(&["api-resources"]).ok();
    for kind in [
        "Namespace",
        "Node",
        "Pod",
        "Event",
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "Lease",
        "Service",
        "EndpointSlice",
        "ReplicaSet",
        "Deployment",
        "ClusterRoleBinding",
        "SelfSubjectAccessReview",
        "TokenReview",
    ] {
        assert!(said.lines().any(|line| line.split_whitespace().last() == Some(kind)), "{kind} in {said}");
    }
    let said = cluster.kubectl(&["api-versions"]).ok();
    assert!(said.lines().any(|line| line == "apps/v1") && said.lines().any(|line| line == "v1"), "{said}");
    let said = cluster.kubectl(&["version"]).ok();
    assert!(said.contains("Server Version: v1."), "{said}");
    let said = cluster.kubectl(&["cluster-info"]).ok();
    assert!(said.contains(&cluster.api().to_string()), "{said}");
    assert_eq!(cluster.kubectl(&["get", "--raw", "/readyz"]).ok(), "ok");
}

#[test]
fn kubectl_is_told_of_what_a_kind_does_not_have() {
    let cluster = Cluster::up();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let map = write("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd}\ndata: {a: b}\ncolour: red\n");
    let applied = cluster.kubectl(&["apply", "--server-side", "--validate=ignore", "-f", &map]).err();
    let why = "failed to create typed patch object (default/odd; /v1, Kind=ConfigMap): .colour: field not declared in schema";
    assert!(applied.contains(why), "{applied}");
    assert!(cluster.kubectl(&["create", "-f", &map]).err().contains("unknown field \"colour\""));
    cluster.kubectl(&["create", "--validate=ignore", "-f", &map]).ok();
    assert_eq!(cluster.kubectl(&["get", "cm", "odd", "-o", "jsonpath={.data.a}{.colour}"]).ok(), "b");

    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostUsers: false\n  hostNetwork: true\n  containers:\n  \
               - {name: c, image: x, resources: {requests: {a.b/c: 1}, claims: [{name: gpu}]}}\n";
    let said = cluster.kubectl(&["create", "-f", &write("pod.yaml", pod)]).err();
    for part in [
        "spec.hostNetwork: Forbidden: when `hostUsers` is false",
        "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        "spec.containers[0].resources.claims[0]: Not found: \"gpu\"",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  os: {name: windows}\n  hostPID: true\n  containers:\n  \
               - {name: c, image: x, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3]}}]}\n";
    let said = cluster.kubectl(&["create", "-f", &write("windows.yaml", pod)]).err();
    for part in [
        "spec.hostPID: Forbidden: cannot be set for a windows pod",
        "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: far}\nspec: {podCIDR: x}\n";
    let said = cluster.kubectl(&["create", "-f", &write("node.yaml", node)]).err();
    assert!(said.contains("spec.podCIDRs[0]: Invalid value: \"x\": must be a valid CIDR value"), "{said}");
    let report = cluster.kubectl(&["get", "--raw", "/readyz?verbose&exclude=etcd"]).ok();
    assert!(report.contains("[+]etcd excluded: ok\n") && report.ends_with("readyz check passed\n"), "{report}");
}
