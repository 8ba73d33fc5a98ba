//! When a pod's images are pulled, and what its status and events say of it.

use mizzen_tests::client::is;
use mizzen_tests::cluster::http;
use mizzen_tests::{Cluster, Registry, eventually, images};
use serde_json::Value;

fn reasons(cluster: &Cluster, pod: &str, container: &str) -> Vec<String> {
    let events = cluster.whole_events(pod);
    let of = events.iter().filter(|event| event["involvedObject"]["fieldPath"].as_str().unwrap_or_default().contains(container));
    of.filter_map(|event| event["reason"].as_str()).map(str::to_owned).collect()
}

fn waiting(pod: &Value) -> Value {
    pod["status"]["containerStatuses"][0]["state"]["waiting"].clone()
}

#[test]
fn an_image_is_pulled_when_its_container_is_about_to_start_and_the_pod_has_its_address_before() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "web:v1");
    let cluster = Cluster::up();
    let missing = registry.reference("missing:v1");
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: staged}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers: [{{name: first, image: '{image}', command: [sh, -c, 'until [ -e /tmp/go ]; do sleep 0.1; done']}}]
  containers: [{{name: main, image: '{missing}'}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: stuck}}
spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: '{missing}'}}]}}
"
    ));
    let running = |pod: &Value| pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object().then(|| pod.clone());
    let staged = cluster.until(&["pod", "staged"], "runs its init container", running);
    assert_eq!(waiting(&staged)["reason"], "PodInitializing", "{staged}");
    let failed = |pod: &Value| {
        let reason = waiting(pod)["reason"].clone();
        (reason == "ErrImagePull" || reason == "ImagePullBackOff").then(|| pod.clone())
    };
    let stuck = cluster.until(&["pod", "stuck"], "cannot be pulled", failed);
    let address = stuck["status"]["podIP"].as_str().expect("has an address").to_owned();
    assert!(is(&stuck, "PodReadyToStartContainers"), "{stuck}");
    assert_eq!(reasons(&cluster, "staged", "{main}"), Vec::<String>::new(), "nobody has asked for its image yet");

    cluster.mizzen(&["exec", "staged", "-c", "first", "--", "touch", "/tmp/go"]).ok();
    cluster.until(&["pod", "staged"], "cannot be pulled", failed);
    let pulling = "Pulling".to_owned();
    eventually("its image was asked for", || reasons(&cluster, "staged", "{main}").contains(&pulling).then_some(()));

    // The image comes, and the pods are where they said they would be.
    images::busybox(&registry, "missing:v1");
    cluster.ready("stuck");
    assert_eq!(cluster.pod_address("stuck").to_string(), address);
    eventually("it answers", || (http(cluster.pod_address("stuck"), 8080).stdout == "hello from missing:v1\n").then_some(()));
    cluster.ready("staged");
}

#[test]
fn two_containers_of_one_image_pull_it_once() {
    let registry = Registry::start();
    let image = images::busybox(&registry, "twice:v1");
    let cluster = Cluster::up();
    cluster.apply(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: twins}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: one, image: '{image}'}}
  - {{name: two, image: '{image}', args: [-f, -p, '8081', -h, /www]}}
"
    ));
    cluster.ready("twins");
    let messages = eventually("both containers' events are there", || {
        let messages = cluster.events("twins");
        (messages.iter().filter(|message| *message == "Container started").count() == 2).then_some(messages)
    });
    let count = |part: &str| messages.iter().filter(|message| message.contains(part)).count();
    assert_eq!(count(&format!("Pulling image \"{image}\"")), 1, "{messages:#?}");
    assert_eq!(count(&format!("Successfully pulled image \"{image}\" in ")), 1, "{messages:#?}");
    assert_eq!(count("s including waiting). Image size: "), 1, "{messages:#?}");
    let present = format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
    assert_eq!(count(&present), 1, "{messages:#?}");
}
