//! `mizzen get|apply|describe|logs|exec|delete` beside kubectl on the same cluster: the same words, the same exit codes.

use std::fs::File;
use std::process::Stdio;

use mizzen_tests::command::Ran;
use mizzen_tests::kubectl::Kubectl;
use mizzen_tests::{Cluster, Registry, eventually, images};

/// What a program said: exit code, standard output, standard error.
fn said(ran: Ran) -> (Option<i32>, String, String) {
    // Hints name their own program.
    (ran.code, ran.stdout, ran.stderr.replace("kubectl", "mizzen"))
}

/// Without the ages, which grow while the other client is asked, and the room that they take.
fn ageless(text: &str) -> String {
    let is_age = |word: &str| {
        let mut parts = word.split_inclusive(['s', 'm', 'h', 'd']);
        parts.all(|part| {
            part.len() > 1
                && part[..part.len() - 1].bytes().all(|byte| byte.is_ascii_digit())
                && !part.ends_with(char::is_numeric)
        })
    };
    let word = |word: &str| if is_age(word) { "AGE".to_owned() } else { word.to_owned() };
    text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[track_caller]
fn both_say_the_same(cluster: &Cluster, arguments: &[&str]) {
    let (own, theirs) = (said(cluster.mizzen(arguments)), said(cluster.kubectl(arguments)));
    // kubectl reads the containers of a pod in no order (they are the keys of a Go map).
    if arguments.contains(&"--all-containers") {
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!((own.0, sorted(&own.1), own.2), (theirs.0, sorted(&theirs.1), theirs.2), "{arguments:?}");
        return;
    }
    let is_table = theirs.1.lines().next().is_some_and(|line| line.contains("AGE") || line.contains("LAST SEEN"));
    if is_table || arguments.contains(&"--no-headers") {
        assert_eq!((own.0, ageless(&own.1), own.2), (theirs.0, ageless(&theirs.1), theirs.2), "{arguments:?}");
    } else {
        assert_eq!(own, theirs, "{arguments:?}");
    }
}

fn manifest(image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web, tier: front}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: httpd, image: '{image}', command: [sh, -c, 'echo started; exec httpd -f -p 8080 -h /www']}}
      - {{name: side, image: '{image}', command: [sh, -c, 'echo beside; exec sleep 1000']}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, labels: {{app: web}}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, labels: {{app: web}}}}
data: {{a: '1', text: \"two\\nlines\\n\"}}
"
    )
}

#[test]
fn mizzens_own_client_gets_what_kubectl_gets() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.apply(&manifest(&image));
    eventually("both pods are ready", || (cluster.mizzen(&["get", "pods"]).ok().matches(" 2/2 ").count() == 2).then_some(()));
    cluster.until(&["deployment", "web"], "is available", |web| {
        let is_seen = web["status"]["observedGeneration"] == web["metadata"]["generation"];
        (is_seen && web["status"]["availableReplicas"] == 2).then_some(())
    });
    let pods = cluster.pods("app=web");
    for pod in &pods {
        let log = || cluster.mizzen(&["logs", pod, "--all-containers"]).ok();
        eventually("its containers have said what they say", || (log() == "started\nbeside\n").then_some(()));
    }
    let (first, named) = (pods[0].as_str(), format!("pod/{}", pods[0]));
    for arguments in [
        &["get", "pods"][..],
        &["get", "po", "-o", "wide"],
        &["get", "pods", "-A"],
        &["get", "all"],
        &["get", "pods,svc"],
        &["get", "deploy", "web"],
        &["get", "pod", first, pods[1].as_str()],
        &["get", &named, "deployment/web", "svc/web"],
        &["get", "deployments.apps", "--no-headers"],
        &["get", "cm", "-l", "app=web", "--show-labels"],
        &["get", "deploy", "-L", "tier,none"],
        &["get", "nodes", "-o", "wide"],
        &["get", "cm", "-l", "app in (web,other)"],
        &["get", "pods", "--field-selector", "status.phase=Pending"],
        &["get", "pods", "-n", "kube-system"],
        &["get", "pods", "-o", "name"],
        &["get", "deploy,cm", "-o", "name", "-l", "app=web"],
        &["get", "cm", "settings", "-o", "json"],
        &["get", "cm", "-l", "app=web", "-o", "json"],
        &["get", "cm", "-l", "app=web", "-o", "yaml"],
        &["get", "pods", "-l", "none=1", "-o", "json"],
        &["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].port}"],
        &["get", "pods", "-l", "app=web", "-o", r#"jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}"#],
        &["get", "pod", "none"],
        &["get", "pod", "none", "--ignore-not-found"],
        &["get", "pod", first, "none"],
        &["get", "nothings"],
        &["get", "pod", first, "-l", "a=b"],
        &["get", "pods", "pod/a"],
        &["get", "pods/a/b"],
        &["get", "ns", "-o", "yaml"],
        &["get", "pod", first, "-o", "yaml"],
        &["get", "pod", first, "-o", "json", "--show-managed-fields"],
        &["logs", first],
        &["logs", first, "-c", "side"],
        &["logs", first, "side"],
        &["logs", "deploy/web", "--tail=1"],
        &["logs", first, "--all-containers", "--prefix"],
        &["exec", first, "--", "sh", "-c", "echo inside; exit 3"],
        &["exec", "deploy/web", "-c", "side", "--", "true"],
        &["exec", first, "-c", "none", "--", "true"],
        &["exec", "none", "--", "true"],
        &["delete", "pod", "none"],
        &["delete", "pods"],
        &["delete", "nothings", "a"],
        &["delete", "cm", "-l", "none=1"],
        &["delete", "pod", "none", "--ignore-not-found"],
    ] {
        both_say_the_same(&cluster, arguments);
    }
}

#[test]
fn mizzens_own_client_writes_and_refuses_as_kubectl_does() {
    let cluster = Cluster::server();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file(
        "good.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: good}\n",
    );
    let nothing = file("nothing.yaml", "# not yet\n");
    let unknown = file("unknown.yaml", "apiVersion: example.test/v1\nkind: Thing\nmetadata: {name: a}\n");
    let misspelt = file("misspelt.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: misspelt}\ndate: {a: b}\n");
    let invalid =
        file("invalid.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: BAD}\nspec: {containers: [{name: '', image: x}]}\n");
    let elsewhere = file("elsewhere.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}\n");
    let missing = folder.path().join("missing.yaml");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();

    let apply = |arguments: &[&str]| cluster.mizzen(&[&["apply"][..], arguments].concat());
    let server_side =
        |arguments: &[&str]| cluster.kubectl(&[&["apply", "--server-side", "--field-manager=mizzen"][..], arguments].concat());
    for arguments in [
        &["-f", good.as_str()][..],
        &["-f", &nothing],
        &["-f", missing.to_str().unwrap()],
        &["-f", empty.to_str().unwrap()],
        &["-f", &elsewhere, "-n", "default"],
    ] {
        assert_eq!(said(apply(arguments)), said(server_side(arguments)), "{arguments:?}");
    }
    for (bad, why) in [
        (&unknown, "no matches for kind \"Thing\" in version \"example.test/v1\"\nensure CRDs are installed first"),
        (&misspelt, "date"),
        (&invalid, "The Pod \"BAD\" is invalid: \n* metadata.name: Invalid value: \"BAD\""),
    ] {
        let error = apply(&["-f", bad]).err();
        assert!(error.contains(why), "{error}");
    }
    // One that is refused keeps none of the others.
    let ran = apply(&["-f", folder.path().to_str().unwrap()]);
    assert!(ran.code == Some(1) && ran.stdout.contains("configmap/good serverside-applied\nsecret/good"), "{ran:?}");

    cluster
        .kubectl(&[
            "apply",
            "--server-side",
            "--field-manager=other",
            "--force-conflicts",
            "-f",
            &file("theirs.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {a: theirs}\n"),
        ])
        .ok();
    let mine = file("mine.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {a: mine}\n");
    let error = apply(&["-f", &mine]).err();
    assert!(error.contains("conflict with \"other\": .data.a") && error.contains("--force-conflicts"), "{error}");
    apply(&["-f", &mine, "--force-conflicts"]).ok();

    let create = || cluster.kubectl(&["create", "configmap", "doomed"]).ok();
    let names = ["configmap/doomed", "--wait=true"];
    create();
    let own = said(cluster.mizzen(&[&["delete"][..], &names].concat()));
    create();
    assert_eq!(own, said(cluster.kubectl(&[&["delete"][..], &names].concat())));
}

#[test]
fn mizzens_own_client_waits_for_what_goes_and_shows_what_changes() {
    let cluster = Cluster::server();
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.test/hold]}\n";
    cluster.apply(held);
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("shown");
    let mut watch = cluster.mizzen_command(&["get", "cm", "held", "-w", "-o", "name"]);
    let mut watch = watch.stdout(File::create(&shown).unwrap()).spawn().unwrap();
    let lines = || std::fs::read_to_string(&shown).unwrap().lines().filter(|line| *line == "configmap/held").count();
    eventually("the object is shown", || (lines() == 1).then_some(()));
    let mut delete = cluster.mizzen_command(&["delete", "cm", "held"]);
    let mut delete = delete.stdout(Stdio::null()).spawn().unwrap();
    cluster.until(&["cm", "held"], "is going", |held| held["metadata"]["deletionTimestamp"].as_str().map(|_| ()));
    assert!(delete.try_wait().unwrap().is_none(), "it waits for the finalizer");
    cluster.kubectl(&["patch", "cm", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).ok();
    assert!(delete.wait().unwrap().success());
    assert!(cluster.get(&["cm", "held"]).is_none());

    eventually("each change is shown: going, let go, gone", || (lines() >= 3).then_some(()));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
