//! Helm, the real one: a chart with a claim, a definition of its own kind, and hooks.

use std::fs;
use std::path::Path;
use std::process::Command;

use mizzen_tests::command::{Ran, run};
use mizzen_tests::{Cluster, Registry, images};

use crate::python::python;

/// What the chart's objects are made of; `IMAGE` is put in.
const TEMPLATE: &str = r#"apiVersion: apps/v1
kind: StatefulSet
metadata: {name: {{ .Release.Name }}-db}
spec:
  serviceName: {{ .Release.Name }}-db
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: db
        image: IMAGE
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: {{ .Release.Name }}}
spec: {size: {{ .Values.size }}, server: {{ (lookup "v1" "Service" "default" "kubernetes").spec.clusterIP | quote }}}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: hook-succeeded}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: IMAGE, command: [sh, -c, "exit {{ .Values.before }}"]}]}}
  backoffLimit: 0
---
apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}-test, annotations: {helm.sh/hook: test}}
spec: {restartPolicy: Never, containers: [{name: main, image: IMAGE, command: ["true"]}]}
"#;

const KIND: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}, server: {type: string}}}}
";

fn chart(folder: &Path, image: &str) {
    for inner in ["crds", "templates"] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 0.1.0\n").unwrap();
    fs::write(folder.join("values.yaml"), "replicas: 1\nsize: 3\nbefore: 0\n").unwrap();
    fs::write(folder.join("crds/widgets.yaml"), KIND).unwrap();
    fs::write(folder.join("templates/all.yaml"), TEMPLATE.replace("IMAGE", image)).unwrap();
}

#[test]
fn a_chart_is_installed_tested_upgraded_rolled_back_and_removed() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    cluster.until(&["storageclass", "local-path"], "is there", |_| Some(()));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    chart(&folder.join("shop"), &image);
    let helm = |arguments: &[&str]| -> Ran {
        let mut helm = Command::new(python().with_file_name("helm"));
        helm.current_dir(folder).env("HOME", folder).env("KUBECONFIG", cluster.kubeconfig());
        run(helm.args(arguments).args(["--namespace", "team"]))
    };
    let wait = ["--wait", "--timeout", "100s"];
    let with = |arguments: &[&str]| helm(&[arguments, &wait].concat());
    let widget = || cluster.get(&["widget.example.com", "one", "-n", "team"]).expect("is there")["spec"].clone();

    let said = with(&["install", "one", "shop", "--create-namespace"]).ok();
    assert!(said.contains("STATUS: deployed"), "{said}");
    assert_eq!(widget()["size"], 3);
    let server = cluster.get(&["service", "kubernetes"]).expect("is there")["spec"]["clusterIP"].clone();
    assert_eq!(widget()["server"], server);
    assert!(helm(&["test", "one", "--timeout", "100s"]).ok().contains("Phase:          Succeeded"));

    with(&["upgrade", "one", "shop", "--set", "size=5,replicas=2"]).ok();
    assert_eq!(widget()["size"], 5);
    let set = cluster.get(&["statefulset", "one-db", "-n", "team"]).expect("is there");
    assert_eq!(set["status"]["readyReplicas"], 2);
    // A hook that fails stops the upgrade, which is taken back as a whole.
    let failed = with(&["upgrade", "one", "shop", "--atomic", "--set", "size=7,before=1"]).err();
    assert!(failed.contains("has been rolled back due to atomic being set"), "{failed}");
    assert_eq!(widget()["size"], 5);
    with(&["rollback", "one", "1"]).ok();
    assert_eq!(widget()["size"], 3);
    let history = helm(&["history", "one"]).ok();
    assert_eq!(history.lines().filter(|line| line.contains("superseded")).count(), 3, "{history}");
    assert!(history.lines().last().unwrap().contains("Rollback to 1"), "{history}");

    with(&["uninstall", "one"]).ok();
    assert!(cluster.get(&["widget.example.com", "one", "-n", "team"]).is_none());
    assert!(cluster.get(&["statefulset", "one-db", "-n", "team"]).is_none());
}
