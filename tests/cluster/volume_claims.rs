//! Claims and the volumes that they are bound to.

use mizzen_tests::{Agent, Cluster, Registry, eventually, images};

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

#[test]
fn a_claim_of_no_class_gets_a_folder_of_the_node_of_its_pod_which_leads_it_back_there_and_goes_with_it() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::server();
    let agents = [Agent::join(&cluster, "edge-1"), Agent::join(&cluster, "edge-2")];
    cluster.until(&["storageclass", "local-path"], "is there", |_| Some(()));
    cluster.apply(
        "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
    );
    let pod = |name: &str, command: &str| {
        cluster.apply(&format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsUser: 1000}}
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
  containers:
  - {{name: main, image: '{image}', command: [sh, -c, '{command}'], volumeMounts: [{{name: data, mountPath: /data}}]}}
"
        ));
    };
    pod("writer", "echo kept > /data/file; sleep 1000");
    cluster.ready("writer");
    let node = cluster.get(&["pod", "writer"]).expect("is there")["spec"]["nodeName"].as_str().unwrap().to_owned();
    let volume = cluster.get(&["pvc", "data"]).expect("is there")["spec"]["volumeName"].as_str().unwrap().to_owned();
    let path = cluster.get(&["pv", &volume]).expect("is there")["spec"]["local"]["path"].as_str().unwrap().to_owned();
    let home = agents.iter().find(|agent| path.starts_with(agent.data().to_str().unwrap()));
    assert!(home.is_some(), "{path} is of a node");
    eventually("the file is there", || std::fs::read_to_string(format!("{path}/file")).ok().filter(|text| text == "kept\n"));
    cluster.mizzen(&["delete", "pod", "writer"]).ok();

    // While its volume's node takes no pods, the next one waits.
    let unschedulable =
        |is: bool| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\nspec: {{unschedulable: {is}}}\n");
    cluster.apply(&unschedulable(true));
    pod("reader", "cat /data/file; sleep 1000");
    let message = cluster.until(&["pod", "reader"], "says why it waits", |pod| {
        let condition = pod["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == "PodScheduled")?;
        condition["message"].as_str().map(str::to_owned)
    });
    assert!(message.contains("1 node(s) didn't match PersistentVolume's node affinity"), "{message}");
    cluster.apply(&unschedulable(false));
    cluster.ready("reader");
    eventually("it reads what was kept", || (cluster.mizzen(&["logs", "reader"]).stdout == "kept\n").then_some(()));

    cluster.mizzen(&["delete", "pod", "reader"]).ok();
    cluster.mizzen(&["delete", "pvc", "data"]).ok();
    eventually("the volume and its files are gone", || {
        (cluster.get(&["pv", &volume]).is_none() && !std::path::Path::new(&path).exists()).then_some(())
    });
}

#[test]
fn a_pod_waits_for_a_claim_that_is_not_there_or_can_have_no_folder_and_says_so() {
    let cluster = Cluster::up();
    cluster.until(&["storageclass", "local-path"], "is there", |_| Some(()));
    cluster.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: waits}
spec:
  volumes: [{name: data, persistentVolumeClaim: {claimName: shared}}]
  containers: [{name: main, image: example.com/none}]
",
    );
    cluster.until(&["pod", "waits"], "says what it waits for", |pod| {
        let condition = pod["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == "PodScheduled")?;
        condition["message"].as_str()?.contains("persistentvolumeclaim \"shared\" not found").then_some(())
    });
    cluster.apply(
        "apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shared}
spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}
",
    );
    let why = ["events", "--field-selector", "involvedObject.name=shared,reason=ProvisioningFailed"];
    cluster.until(&why, "say why it gets no volume", |events| {
        events["items"][0]["message"].as_str()?.contains("access mode ReadWriteMany is not to be had").then_some(())
    });
}
