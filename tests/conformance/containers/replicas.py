"""ReplicaSets and ReplicationControllers: the pods they make, take over and let go."""

from client import MERGE, STRATEGIC, equal, eventually
from pods import Pods
from registry import behaviour
from workloads import SERVE, condition_of, controller_of, ready_pods, template, until, workload

KINDS = {"ReplicaSet": ("apps/v1", "replicasets"), "ReplicationController": ("v1", "replicationcontrollers")}


def both(rest_of_set, rest_of_controller):
    """Registers a function of a world and a kind for either kind's title."""

    def register(function):
        behaviour(f"[sig-apps] ReplicaSet {rest_of_set}")(lambda world: function(world, "ReplicaSet"))
        behaviour(f"[sig-apps] ReplicationController {rest_of_controller}")(lambda world: function(world, "ReplicationController"))

    return register


def furnish(world, kind):
    namespace, (version, plural) = world.namespace(kind.lower()), KINDS[kind]
    return world.resource(version, plural, namespace), Pods(world, namespace)


@both("should serve a basic image on each replica with a public image", "should serve a basic image on each replica with a public image")
def serves(world, kind):
    resource, pods = furnish(world, kind)
    resource.create(workload(kind, "my-hostname-basic", {"name": "basic"}, template(world, {"name": "basic"}, SERVE), replicas=1))
    for pod in ready_pods(pods.resource, 1, "name=basic"):
        name = pod["metadata"]["name"]
        answer = lambda name=name: world.api.raw("GET", pods.resource.of(name, "proxy") + "/index.html")  # noqa: E731
        eventually("it says its name", lambda: answer().status == 200 and answer().data.decode().strip() == name)


@both("should adopt matching pods on creation and release no longer matching pods", "should adopt matching pods on creation")
def adopts(world, kind):
    resource, pods = furnish(world, kind)
    pods.create("pod-adoption", pods.container(), labels={"name": "pod-adoption"})
    pods.ready("pod-adoption")
    made = resource.create(workload(kind, "adopts", {"name": "pod-adoption"}, template(world, {"name": "pod-adoption"}), replicas=1))
    uid = made["metadata"]["uid"]
    eventually("the orphan is adopted", lambda: (controller_of(pods.resource.get("pod-adoption")) or {}).get("uid") == uid)
    equal(pods.resource.names(), ["pod-adoption"])
    if kind == "ReplicaSet":
        releases(pods, "pod-adoption", uid)


def releases(pods, name, uid):
    pods.resource.patch(name, {"metadata": {"labels": {"name": "not-matching"}}})
    eventually("it is released", lambda: controller_of(pods.resource.get(name)) is None)
    eventually("another is made", lambda: [p for p in pods.resource.list()["items"] if (controller_of(p) or {}).get("uid") == uid])


@behaviour("[sig-apps] ReplicationController should release no longer matching pods")
def lets_go(world):
    resource, pods = furnish(world, "ReplicationController")
    made = resource.create(workload("ReplicationController", "pod-release", {"name": "r"}, template(world, {"name": "r"}), replicas=1))
    [pod] = ready_pods(pods.resource, 1, "name=r")
    releases(pods, pod["metadata"]["name"], made["metadata"]["uid"])


@both("Replicaset should have a working scale subresource", "should get and update a ReplicationController scale")
def scale(world, kind):
    resource, pods = furnish(world, kind)
    resource.create(workload(kind, "test-rs", {"name": "s"}, template(world, {"name": "s"}), replicas=1))
    ready_pods(pods.resource, 1, "name=s")
    until(resource, "test-rs", "has one", lambda found: found["status"].get("replicas") == 1)
    found = resource.get("test-rs", "scale")
    equal((found["spec"]["replicas"], found["status"]["replicas"], found["status"]["selector"]), (1, 1, "name=s"))
    found["metadata"].pop("resourceVersion")
    found["spec"]["replicas"] = 2
    equal(resource.update(found, "scale")["spec"]["replicas"], 2)
    equal(resource.get("test-rs")["spec"]["replicas"], 2)
    ready_pods(pods.resource, 2, "name=s")
    equal(resource.patch("test-rs", {"spec": {"replicas": 4}}, "scale", kind=STRATEGIC)["spec"]["replicas"], 4)
    ready_pods(pods.resource, 4, "name=s")


@behaviour("[sig-apps] ReplicaSet Replace and Patch tests")
def replace_and_patch(world):
    resource, pods = furnish(world, "ReplicaSet")
    labels = {"name": "sample-pod", "pod": "httpd"}
    resource.create(workload("ReplicaSet", "test-rs", labels, template(world, labels), replicas=1))
    ready_pods(pods.resource, 1, "pod=httpd")
    resource.change("test-rs", lambda found: found["spec"].update(replicas=2))
    ready_pods(pods.resource, 2, "pod=httpd")
    pod = {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "b"}]}]}}
    resource.patch("test-rs", {"metadata": {"labels": {"test-rs": "patched"}}, "spec": {"replicas": 3, "template": pod}}, kind=STRATEGIC)
    found = until(resource, "test-rs", "has three", lambda found: found["status"].get("readyReplicas") == 3)
    equal((found["metadata"]["labels"]["test-rs"], found["spec"]["replicas"]), ("patched", 3))


@behaviour("[sig-apps] ReplicaSet should validate Replicaset Status endpoints")
def status(world):
    resource, pods = furnish(world, "ReplicaSet")
    resource.create(workload("ReplicaSet", "test-rs", {"name": "s"}, template(world, {"name": "s"}), replicas=1))
    ready_pods(pods.resource, 1, "name=s")
    added = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    resource.change("test-rs", lambda found: found["status"].setdefault("conditions", []).append(added), "status")
    assert condition_of(resource.get("test-rs", "status"), "StatusUpdate"), "the condition is lost"
    patched = resource.patch("test-rs", {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}, "status", kind=MERGE)
    equal([c["type"] for c in patched["status"]["conditions"]], ["StatusPatched"])


@behaviour("[sig-apps] ReplicationController should test the lifecycle of a ReplicationController")
def life(world):
    resource, pods = furnish(world, "ReplicationController")
    labels, selector = {"test-rc-static": "true"}, "test-rc-static=true"
    watch = resource.watch(labelSelector=selector)
    resource.create(workload("ReplicationController", "rc-test", labels, template(world, labels), replicas=1))
    watch.until(lambda e: e["type"] == "ADDED")
    watch.until(lambda e: e["object"]["status"].get("readyReplicas") == 1)
    resource.patch("rc-test", {"metadata": {"labels": {"test-rc": "patched"}}}, kind=STRATEGIC)
    watch.until(lambda e: e["object"]["metadata"]["labels"].get("test-rc") == "patched")
    patched = resource.patch("rc-test", {"status": {"availableReplicas": 0, "readyReplicas": 0}}, "status")
    equal((patched["status"].get("readyReplicas", 0), patched["status"].get("availableReplicas", 0)), (0, 0))
    watch.until(lambda e: not e["object"]["status"].get("readyReplicas"))
    assert resource.get("rc-test", "status")["metadata"]["name"] == "rc-test"
    resource.patch("rc-test", {"spec": {"replicas": 2}}, "scale")
    watch.until(lambda e: e["object"]["spec"]["replicas"] == 2 == e["object"]["status"].get("readyReplicas"))
    resource.change("rc-test", lambda found: found["metadata"].setdefault("annotations", {}).update(updated="true"))
    equal(len(world.resource("v1", "replicationcontrollers").list(labelSelector=selector)["items"]), 1)
    resource.delete_collection(labelSelector=selector)
    watch.until(lambda e: e["type"] == "DELETED")
    watch.close()
