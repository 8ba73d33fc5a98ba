//! Claims and the volumes that they are bound to.

use mizzen_tests::{Cluster, Registry, eventually, images};

fn volume(name: &str, size: &str, path: &str) -> String {
    format!(
        "apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: {size}}}
  accessModes: [ReadWriteOnce]
  storageClassName: by-hand
  hostPath: {{path: '{path}', type: DirectoryOrCreate}}
---
"
    )
}

const CLAIM: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: by-hand
  resources: {requests: {storage: 1Gi}}
";

#[test]
fn a_pod_writes_to_the_volume_of_its_claim_which_stays_while_it_is_used_and_is_released_after() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let phase = |object: &[&str], wanted: &str| {
        cluster.until(object, wanted, |found| (found["status"]["phase"] == wanted).then(|| found.clone()))
    };
    cluster.apply(CLAIM);
    phase(&["pvc", "data"], "Pending");
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: writer}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
  containers:
  - name: main
    image: '{image}'
    command: [sh, -c, 'echo kept > /data/file; sleep 1000']
    volumeMounts: [{{name: data, mountPath: /data}}]
"
    ));
    // The pod waits for its claim, the claim for a volume that is large enough, and takes the smallest of those.
    cluster.apply(&[volume("large", "9Gi", &path("large")), volume("fits", "2Gi", &path("fits"))].concat());
    cluster.apply(&volume("small", "1Mi", &path("small")));
    let claim = phase(&["pvc", "data"], "Bound");
    let chosen = claim["spec"]["volumeName"].as_str().unwrap().to_owned();
    assert!(chosen == "fits" || chosen == "large", "{chosen}");
    assert_eq!(claim["status"]["accessModes"], serde_json::json!(["ReadWriteOnce"]));
    let bound = phase(&["pv", &chosen], "Bound");
    assert_eq!(bound["spec"]["claimRef"]["uid"], claim["metadata"]["uid"]);
    phase(&["pv", "small"], "Available");
    cluster.ready("writer");
    eventually("the file is there", || {
        std::fs::read_to_string(folder.path().join(&chosen).join("file")).ok().filter(|text| text == "kept\n")
    });
    // Neither goes while the pod has them.
    cluster.mizzen(&["delete", "pvc", "data", "--wait=false"]).ok();
    cluster.mizzen(&["delete", "pv", &chosen, "--wait=false"]).ok();
    let kept = cluster.get(&["pvc", "data"]).expect("is in use");
    assert_eq!(kept["metadata"]["finalizers"], serde_json::json!(["kubernetes.io/pvc-protection"]));
    assert!(kept["metadata"]["deletionTimestamp"].is_string());
    cluster.mizzen(&["delete", "pod", "writer"]).ok();
    eventually("both are gone", || {
        (cluster.get(&["pvc", "data"]).is_none() && cluster.get(&["pv", &chosen]).is_none()).then_some(())
    });
    // A claim that comes anew gets another volume; what is released is nobody's until somebody says so.
    let other = if chosen == "fits" { "large" } else { "fits" };
    cluster.apply(CLAIM);
    assert_eq!(phase(&["pvc", "data"], "Bound")["spec"]["volumeName"], other);
    cluster.mizzen(&["delete", "pvc", "data"]).ok();
    phase(&["pv", other], "Released");
    assert!(folder.path().join(&chosen).join("file").exists(), "what was written is kept");
}

#[test]
fn a_stateful_set_gets_a_volume_of_the_node_of_its_pod() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let folder = tempfile::tempdir().unwrap();
    let node = cluster.get(&["nodes"]).expect("a list")["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    cluster.apply(
        "apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
",
    );
    for (name, node) in [("elsewhere", "no-such-node"), ("here", node.as_str())] {
        cluster.apply(&format!(
            "apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  local: {{path: '{}'}}
  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchFields: [{{key: metadata.name, operator: In, values: [{node}]}}]}}]}}}}
",
            folder.path().to_str().unwrap()
        ));
    }
    cluster.apply(&format!(
        "apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: main, image: '{image}', volumeMounts: [{{name: data, mountPath: /data}}]}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}
"
    ));
    cluster.ready("db-0");
    let claim = cluster.get(&["pvc", "data-db-0"]).expect("is there");
    assert_eq!((&claim["spec"]["volumeName"], &claim["spec"]["storageClassName"]), (&"here".into(), &"local".into()));
}
