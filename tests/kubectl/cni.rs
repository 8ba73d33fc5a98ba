//! Networks by CNI plugins: Debian's, and one of the test's own around them that fails when it is told to.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use mizzen_tests::{Cluster, Kubectl, Lan, Registry, eventually, images};
use serde_json::{Value, json};

use crate::nodes::{Nodes, all_answer, asked_in, asked_on, field, nodes, teller, told};

/// Hands everything to Debian's bridge, which does not know version 1.1; fails as the file `fails` says: `COMMAND MESSAGE`.
const AROUND: &str = r#"#!/usr/bin/python3
import json, os, subprocess, sys
folder = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
command = os.environ["CNI_COMMAND"]
given = json.load(sys.stdin)
if command == "VERSION":
    print(json.dumps({"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}))
    sys.exit()
with open(folder + "/calls", "a") as calls:
    calls.write(json.dumps({"command": command, "args": os.environ["CNI_ARGS"], "given": given}) + "\n")
fails = open(folder + "/fails").read().split(" ", 1) if os.path.exists(folder + "/fails") else [""]
if command == fails[0]:
    print(json.dumps({"cniVersion": "1.1.0", "code": 50 if command == "STATUS" else 111, "msg": fails[1], "details": "as told"}))
    sys.exit(1)
if command in ("ADD", "DEL", "CHECK"):
    given["cniVersion"] = "1.0.0"
    if "prevResult" in given:
        given["prevResult"]["cniVersion"] = "1.0.0"
    ran = subprocess.run(["/usr/lib/cni/bridge"], input=json.dumps(given), stdout=subprocess.PIPE, text=True)
    print(ran.stdout.replace('"cniVersion": "1.0.0"', '"cniVersion": "1.1.0"'))
    sys.exit(ran.returncode)
"#;

/// A node's configuration and plugins.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for folder in ["net.d", "bin"] {
            std::fs::create_dir(place.0.path().join(folder)).unwrap();
        }
        place.put("bin/around", AROUND);
        std::fs::set_permissions(place.0.path().join("bin/around"), Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn config(&self) -> String {
        let folder = self.0.path().display();
        format!("cni: {{confDir: {folder}/net.d, binDirs: [{folder}/bin, /usr/lib/cni]}}\n")
    }

    /// Renamed into its place: nobody reads half of it.
    fn put(&self, name: &str, text: &str) {
        let aside = self.0.path().join("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.0.path().join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }

    /// A chain that begins with a bridge by this plugin.
    fn chain(&self, version: &str, bridge: &str, further: &[Value]) -> String {
        let leases = self.0.path().join("leases");
        let ipam = json!({"type": "host-local", "dataDir": leases, "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "10.23.0.0/24"}]]});
        let first = json!({"type": bridge, "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": ipam});
        let plugins: Vec<_> = std::iter::once(&first).chain(further).collect();
        json!({"cniVersion": version, "name": "pods", "plugins": plugins}).to_string()
    }

    fn leases(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.0.path().join("leases/pods")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name.starts_with("10.")).collect()
    }

    fn calls(&self, command: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|call| call["command"] == command).collect()
    }
}

fn address(cluster: &Cluster, pod: &str) -> String {
    field(cluster, &["pod", pod], ".status.podIP")
}

#[test]
fn services_names_policies_and_host_ports_go_on_with_addresses_of_plugins() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let component = images::wasm(&registry, "tryout_http", "tryout:v1");
    let (lan, place) = (Lan::switched(&["m1"]), Place::new());
    let portmap = json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}});
    place.put("net.d/10-pods.conflist", &place.chain("1.0.0", "bridge", &[portmap]));
    place.put("net.d/20-other.conf", r#"{"cniVersion": "1.0.0", "name": "other", "type": "nothing"}"#);
    let Nodes { mut cluster, _doors, .. } = nodes(&lan, &["m1"], &registry, &place.config());
    let (m1, hub) = (lan.machine("m1"), lan.hub());

    let published = teller("t2", "test-node", &image)
        .replace("    command:", "    ports: [{containerPort: 8080, hostPort: 8085}]\n    command:");
    cluster.kubectl_apply(&(teller("t1", "test-node", &image) + &published));
    cluster.kubectl_apply(&format!(
        "apiVersion: v1
kind: Service
metadata: {{name: tell}}
spec:
  selector: {{app: teller}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: w1}}
spec:
  containers:
  - {{name: main, image: '{component}', ports: [{{containerPort: 8090}}]}}
"
    ));
    cluster.kubectl_wait("condition=Ready", &["pod", "--all"]);
    let (t1, t2, w1) = (address(&cluster, "t1"), address(&cluster, "t2"), address(&cluster, "w1"));
    assert_eq!(place.leases(), BTreeSet::from([t1.clone(), t2.clone()]), "a Wasm pod is on the node's own network: {w1}");

    assert_eq!(asked_in(&cluster, "t2", &t1, 8080), (t2.clone(), "t1".to_owned()));
    let service = field(&cluster, &["service", "tell"], ".spec.clusterIP");
    all_answer(&["t1", "t2"], None, || asked_in(&cluster, "t1", &service, 80));
    all_answer(&["t1", "t2"], None, || asked_on(m1, service.parse().unwrap(), 80));
    let said = cluster.kubectl(&["exec", "t1", "--", "nslookup", "tell.default.svc.cluster.local"]).ok();
    assert!(said.contains(&service), "{said}");
    let fetched = m1.http(w1.parse().unwrap(), 8090, &format!("/fetch?http://{t1}:8080/cgi-bin/who")).ok();
    assert_eq!(told(&fetched), (w1, "t1".to_owned()), "a Wasm pod is seen as itself");
    assert_eq!(asked_on(&hub, m1.address.into(), 8085).1, "t2", "by portmap");

    let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: nobody}
spec: {podSelector: {matchLabels: {teller: t1}}}
";
    cluster.kubectl_apply(policy);
    let reaches = |cluster: &Cluster| {
        let ask = format!("nc -w 3 {t1} 8080 </dev/null >/dev/null && echo reached");
        cluster.kubectl(&["exec", "t2", "--", "sh", "-c", &ask]).stdout.trim() == "reached"
    };
    eventually("nobody reaches the pod", || (!reaches(&cluster)).then_some(()));
    cluster.kubectl(&["delete", "networkpolicy", "nobody"]).ok();
    eventually("everybody does", || reaches(&cluster).then_some(()));

    cluster.kill();
    cluster.start();
    assert_eq!((address(&cluster, "t1"), asked_in(&cluster, "t2", &t1, 8080).1), (t1, "t1".to_owned()), "it runs on");
    assert_eq!(asked_on(&hub, m1.address.into(), 8085).1, "t2");
    cluster.kubectl(&["delete", "pods", "t1", "t2"]).ok();
    eventually("the plugins have taken everything away", || place.leases().is_empty().then_some(()));
    let rules = m1.run(&["iptables-save", "-t", "nat"]);
    assert!(!rules.contains("10.23."), "{rules}");
    assert!(std::fs::read_dir(cluster.data().join("network/cni/results")).unwrap().next().is_none());
}

#[test]
fn what_is_wrong_with_plugins_is_said_of_the_node_and_its_pods_and_mended_without_a_restart() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let (lan, place) = (Lan::switched(&["m1"]), Place::new());
    let Nodes { mut cluster, _doors, .. } = nodes(&lan, &["m1"], &registry, &place.config());
    let ready = |cluster: &Cluster, status: &str| {
        eventually(&format!("Ready is {status}"), || {
            let said = field(cluster, &["node", "test-node"], ".status.conditions[?(@.type=='Ready')]");
            let said: Value = serde_json::from_str(&said).unwrap();
            (said["status"] == status).then(|| said["message"].as_str().unwrap().to_owned())
        })
    };
    let event = |cluster: &Cluster, pod: &str, reason: &str, message: &str| {
        eventually(&format!("{pod} is told {reason}: {message}"), || {
            let events = cluster.whole_events(pod);
            let is_it = |event: &Value| event["reason"] == reason && event["message"].as_str().unwrap().contains(message);
            events.iter().any(is_it).then_some(())
        });
    };

    place.put("net.d/10-pods.conflist", "{");
    let message = ready(&cluster, "False");
    assert!(message.contains("reason:NetworkPluginNotReady") && message.contains("10-pods.conflist"), "{message}");
    cluster.kubectl_apply(&teller("t1", "test-node", &image));
    event(&cluster, "t1", "NetworkNotReady", "10-pods.conflist");

    place.put("fails", "ADD there is no bridge today");
    place.put("net.d/10-pods.conflist", &place.chain("1.1.0", "around", &[]));
    ready(&cluster, "True");
    event(
        &cluster,
        "t1",
        "FailedCreatePodSandBox",
        "plugin type=\"around\" failed (add): there is no bridge today; as told (code 111)",
    );
    place.remove("fails");
    cluster.kubectl_wait("condition=Ready", &["pod/t1"]);
    assert!(address(&cluster, "t1").starts_with("10.23.0."));
    let args = place.calls("ADD")[0]["args"].as_str().unwrap().to_owned();
    assert!(args.contains("K8S_POD_NAMESPACE=default;K8S_POD_NAME=t1;"), "{args}");

    place.put("fails", "STATUS not before noon");
    let message = ready(&cluster, "False");
    assert!(message.contains("failed (status): not before noon; as told (code 50)"), "{message}");
    place.remove("fails");
    ready(&cluster, "True");

    // Somebody takes the pod's interface away while no agent runs; what is attached is looked at when one is there again.
    let uid = field(&cluster, &["pod", "t1"], ".metadata.uid");
    cluster.kill();
    let pin = cluster.data().join("network/ns").join(&uid).join("net");
    lan.machine("m1").run(&["nsenter", &format!("--net={}", pin.display()), "ip", "link", "del", "eth0"]);
    cluster.start();
    event(&cluster, "t1", "NetworkCheckFailed", "plugin type=\"around\" failed (check)");
    let collected = place.calls("GC");
    let valid = &collected.last().expect("is asked")["given"]["cni.dev/valid-attachments"];
    assert_eq!(*valid, json!([{"containerID": uid, "ifname": "eth0"}]));
    let down = cluster.down();
    assert_eq!(down.code, Some(0), "{}", down.stderr);
    assert!(place.leases().is_empty(), "down takes away what plugins made: {:?}", place.leases());
}
