"""StatefulSets: the order in which pods come and go, and their revisions."""

import time

from client import MERGE, STRATEGIC, equal, eventually, meta
from pods import Pods
from registry import behaviour
from workloads import PROBE, READY, SERVE, UNREADY, condition_of, ready_pods, template, until, workload

TITLE = "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] "
LABELS = {"foo": "bar", "baz": "blah"}
SELECTOR = "baz=blah,foo=bar"
REVISION = "controller-revision-hash"


class Sets:
    """The namespace of one behaviour with its headless service `test`, and the StatefulSet `ss`."""

    def __init__(self, world, replicas=1, probe=True, **spec):
        namespace = world.namespace("statefulset")
        service = {"apiVersion": "v1", "kind": "Service", "metadata": meta("test", LABELS)}
        service["spec"] = {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 80, "name": "http", "protocol": "TCP"}]}
        world.resource("v1", "services", namespace).create(service)
        self.world, self.namespace = world, namespace
        self.sets, self.pods = world.resource("apps/v1", "statefulsets", namespace), world.resource("v1", "pods", namespace)
        self.inside = Pods(world, namespace)
        container = {"name": "webserver", **({"readinessProbe": PROBE} if probe else {})}
        pod = template(world, LABELS, SERVE, container)
        self.body = workload("StatefulSet", "ss", LABELS, pod, serviceName="test", replicas=replicas, **spec)

    def create(self):
        self.sets.create(self.body)
        return self

    def scale(self, count):
        self.sets.change("ss", lambda found: found["spec"].update(replicas=count))

    def ready(self, count):
        found = ready_pods(self.pods, count, SELECTOR)
        equal(sorted(pod["metadata"]["name"] for pod in found), [f"ss-{i}" for i in range(count)])
        return sorted(found, key=lambda pod: pod["metadata"]["name"])

    def count(self):
        return len([pod for pod in self.pods.list(labelSelector=SELECTOR)["items"] if "deletionTimestamp" not in pod["metadata"]])

    def toggle(self, command):
        for name in self.pods.names(labelSelector=SELECTOR):
            self.inside.exec(name, command)

    def break_all(self):
        self.toggle(UNREADY)
        unready = lambda pod: pod["status"]["phase"] == "Running" and condition_of(pod, "Ready")["status"] == "False"  # noqa: E731
        eventually("none is ready", lambda: all(map(unready, self.pods.list(labelSelector=SELECTOR)["items"])))
        self.status("no replica is ready", lambda status: not status.get("readyReplicas"))

    def status(self, what, holds):
        return until(self.sets, "ss", what, lambda found: found["status"].get("observedGeneration", 0) >= found["metadata"]["generation"] and holds(found["status"]))["status"]

    def image(self, image):
        self.sets.patch("ss", {"spec": {"template": {"spec": {"containers": [{"name": "webserver", "image": image}]}}}}, kind=STRATEGIC)

    def rolled(self, revision, count=3, of=None):
        """Every pod (or those of these ordinals) has the revision and is ready."""

        def look():
            found = self.pods.list(labelSelector=SELECTOR)["items"]
            right = [p for p in found if p["metadata"]["labels"][REVISION] == revision and (condition_of(p, "Ready") or {}).get("status") == "True"]
            return {p["metadata"]["name"] for p in right} == {f"ss-{i}" for i in (of or range(count))} and len(found) == count

        eventually(f"the pods {of or 'all'} have the revision {revision}", look)


def order(watch, kind, names):
    for name in names:
        equal(watch.until(lambda event: event["type"] == kind, 120)["object"]["metadata"]["name"], name)


def stays(what, count, wanted, seconds=10):
    """The suite watches for ten seconds: only a span can show that nothing comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert count() == wanted, f"{what}: {count()} for {wanted}"
        time.sleep(0.5)


@behaviour(TITLE + "Scaling should happen in predictable order and halt if any stateful pod is unhealthy [Slow]")
def predictable(world):
    here = Sets(world)
    watch = here.pods.watch(labelSelector=SELECTOR)
    here.create().ready(1)
    here.break_all()
    here.scale(3)
    stays("scaling up halts", here.count, 1)
    here.toggle(READY)
    here.ready(3)
    order(watch, "ADDED", ["ss-0", "ss-1", "ss-2"])
    here.break_all()
    here.scale(0)
    stays("scaling down halts", here.count, 3)
    here.toggle(READY)
    eventually("no pod is left", lambda: not here.pods.list(labelSelector=SELECTOR)["items"])
    order(watch, "DELETED", ["ss-2", "ss-1", "ss-0"])
    watch.close()


@behaviour(TITLE + "Burst scaling should run to completion even with unhealthy pods [Slow]")
def burst(world):
    here = Sets(world, podManagementPolicy="Parallel").create()
    here.ready(1)
    here.break_all()
    here.scale(3)
    eventually("there are three pods", lambda: here.count() == 3, 10)
    here.inside.exec("ss-0", READY)
    here.ready(3)
    here.break_all()
    here.scale(0)
    eventually("there is no pod", lambda: here.count() == 0, 10)
    here.status("no replicas", lambda status: status.get("replicas") == 0)


@behaviour(TITLE + "Should recreate evicted statefulset")
def recreated(world):
    here = Sets(world, probe=False)
    node, port = world.resource("v1", "nodes").names()[0], {"name": "conflict", "hostPort": 21017, "containerPort": 21017}
    here.inside.create("test-pod", here.inside.container(ports=[port]), nodeName=node)
    here.inside.phase("test-pod", "Running")
    watch = here.pods.watch(fieldSelector="metadata.name=ss-0")
    spec = here.body["spec"]["template"]["spec"]
    spec["nodeName"], spec["containers"][0]["ports"] = node, [port]
    here.create()
    gone = watch.until(lambda event: event["type"] == "DELETED", 120)["object"]
    watch.close()
    equal(gone["status"]["phase"], "Failed")
    assert gone["status"].get("reason") == "NodePorts", gone["status"]
    here.pods.delete("test-pod", {"gracePeriodSeconds": 0})
    found = here.inside.phase("ss-0", "Running", 120)
    assert found["metadata"]["uid"] != gone["metadata"]["uid"], "it was not made again"


@behaviour(TITLE + "should perform rolling updates and roll backs of template modifications")
def rolling(world):
    here = Sets(world, 3).create()
    found = here.ready(3)
    status = here.status("one revision", lambda status: status.get("updateRevision") and status["currentRevision"] == status["updateRevision"])
    first = status["currentRevision"]
    equal([pod["metadata"]["labels"][REVISION] for pod in found], [first] * 3)
    other = world.image + "@" + image_digest(found[0])
    here.inside.exec("ss-1", UNREADY)
    here.inside.wait("ss-1", "is not ready", lambda pod: condition_of(pod, "Ready")["status"] == "False")
    here.image(other)
    status = here.status("a second revision", lambda status: status["currentRevision"] != status["updateRevision"])
    equal(status["currentRevision"], first)
    second = status["updateRevision"]
    watch = here.pods.watch(labelSelector=SELECTOR, resourceVersion=here.pods.list()["metadata"]["resourceVersion"])
    here.inside.exec("ss-1", READY)
    here.rolled(second)
    order(watch, "DELETED", ["ss-2", "ss-1", "ss-0"])
    watch.close()
    status = here.status("the rollout is complete", lambda status: status["currentRevision"] == second and status.get("updatedReplicas") == 3)
    equal({pod["spec"]["containers"][0]["image"] for pod in here.ready(3)}, {other})

    here.inside.exec("ss-1", UNREADY)
    here.inside.wait("ss-1", "is not ready", lambda pod: condition_of(pod, "Ready")["status"] == "False")
    here.image(world.image)
    here.status("back at the first revision", lambda status: status["updateRevision"] == first)
    here.inside.exec("ss-1", READY)
    here.rolled(first)
    here.status("the roll back is complete", lambda status: status["currentRevision"] == first == status["updateRevision"])


def image_digest(pod):
    return pod["status"]["containerStatuses"][0]["imageID"].rsplit("@")[-1]


@behaviour(TITLE + "should perform canary updates and phased rolling updates of template modifications")
def canary(world):
    here = Sets(world, 3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}).create()
    found = here.ready(3)
    first = here.status("one revision", lambda status: status.get("currentRevision") == status.get("updateRevision"))["currentRevision"]
    other = world.image + "@" + image_digest(found[0])
    here.image(other)
    second = here.status("a second revision", lambda status: status["updateRevision"] != first)["updateRevision"]
    stays("no pod is updated", lambda: [p["metadata"]["labels"][REVISION] for p in here.pods.list(labelSelector=SELECTOR)["items"]], [first] * 3, 2)

    def partition(place):
        here.sets.patch("ss", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": place}}}}, kind=MERGE)

    def revisions():
        return {p["metadata"]["name"]: p["metadata"]["labels"][REVISION] for p in here.ready(3)}

    partition(2)
    eventually("the canary", lambda: revisions() == {"ss-0": first, "ss-1": first, "ss-2": second})
    status = here.status("the canary is counted", lambda status: status.get("updatedReplicas") == 1)
    equal((status["currentRevision"], status["currentReplicas"]), (first, 2))
    for name in ("ss-0", "ss-2"):
        here.pods.delete(name)
    eventually("they come again in their revisions", lambda: revisions() == {"ss-0": first, "ss-1": first, "ss-2": second})
    for place in (1, 0):
        partition(place)
        wanted = {f"ss-{i}": second if i >= place else first for i in range(3)}
        eventually(f"partition {place}", lambda wanted=wanted: revisions() == wanted)
    status = here.status("complete", lambda status: status["currentRevision"] == second)
    equal((status["updatedReplicas"], status["currentReplicas"]), (3, 3))


@behaviour(TITLE + "should have a working scale subresource")
def scale(world):
    here = Sets(world).create()
    here.ready(1)
    found = eventually("its scale", lambda: (lambda s: s["status"].get("replicas") == 1 and s)(here.sets.get("ss", "scale")))
    equal((found["kind"], found["apiVersion"], found["spec"]["replicas"]), ("Scale", "autoscaling/v1", 1))
    found["metadata"].pop("resourceVersion")
    found["spec"]["replicas"] = 2
    equal(here.sets.update(found, "scale")["spec"]["replicas"], 2)
    equal(here.sets.get("ss")["spec"]["replicas"], 2)
    here.sets.patch("ss", {"spec": {"replicas": 4}}, "scale", kind=STRATEGIC)
    equal(here.sets.get("ss")["spec"]["replicas"], 4)


@behaviour(TITLE + "should list, patch and delete a collection of StatefulSets")
def collection(world):
    here = Sets(world)
    here.body["metadata"] = meta("test-ss", {"test-ss": "patched", **LABELS})
    here.sets.create(here.body)
    ready_pods(here.pods, 1, SELECTOR)
    main = {"name": "webserver", "env": [{"name": "A", "value": "b"}]}
    here.sets.patch("test-ss", {"spec": {"replicas": 2, "template": {"spec": {"containers": [main]}}}}, kind=STRATEGIC)
    until(here.sets, "test-ss", "two are ready", lambda found: found["status"].get("readyReplicas") == 2 == found["status"].get("updatedReplicas"))
    equal(len(world.resource("apps/v1", "statefulsets").list(labelSelector="test-ss=patched")["items"]), 1)
    here.sets.delete_collection({"gracePeriodSeconds": 1}, labelSelector="test-ss=patched")
    eventually("it is gone", lambda: not here.sets.list(labelSelector="test-ss=patched")["items"])


@behaviour(TITLE + "should validate Statefulset Status endpoints")
def status_endpoints(world):
    here = Sets(world).create()
    here.ready(1)
    added = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    here.sets.change("ss", lambda found: found["status"].setdefault("conditions", []).append(added), "status")
    assert condition_of(here.sets.get("ss", "status"), "StatusUpdate"), "the condition is lost"
    patched = here.sets.patch("ss", {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}, "status")
    equal([c["type"] for c in patched["status"]["conditions"]], ["StatusPatched"])
