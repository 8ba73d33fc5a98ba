"""DaemonSets: a pod on each node that is meant, its updates, and the way back."""

from client import MERGE, STRATEGIC, equal, eventually
from registry import behaviour, unique
from workloads import condition_of, controller_of, template, until, workload

TITLE = "[sig-apps] Daemon set [Serial] "
LABELS = {"daemonset-name": "daemon-set"}
HASH = "controller-revision-hash"


class Daemons:
    """The namespace of one behaviour with its DaemonSet `daemon-set`."""

    def __init__(self, world, **spec):
        self.world, self.namespace = world, world.namespace("daemonsets")
        plurals = ("daemonsets", "controllerrevisions")
        self.sets, self.revisions = (world.resource("apps/v1", plural, self.namespace) for plural in plurals)
        self.pods, self.nodes = world.resource("v1", "pods", self.namespace), world.resource("v1", "nodes")
        pod = template(world, LABELS, "exec sleep 100000", terminationGracePeriodSeconds=0, **spec.pop("pod", {}))
        self.sets.create(workload("DaemonSet", "daemon-set", LABELS, pod, **spec))

    def own(self):
        return [p for p in self.pods.list()["items"] if controller_of(p) and "deletionTimestamp" not in p["metadata"]]

    def on(self, names):
        def look():
            ready = [p["spec"]["nodeName"] for p in self.own() if (condition_of(p, "Ready") or {}).get("status") == "True"]
            return sorted(ready) == sorted(names)

        eventually(f"an available pod is on each of {names} alone", look)
        count = len(names)
        fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady")
        until(self.sets, "daemon-set", "counts them", lambda found: [found["status"].get(f, 0) for f in fields] == [count] * 3)

    def everywhere(self):
        self.on(self.nodes.names())

    def colour(self, node, colour):
        self.nodes.patch(node, {"metadata": {"labels": {"daemonset-color": colour}}}, kind=MERGE)

    def history(self, count):
        eventually(f"{count} revisions", lambda: len(self.revisions.list(labelSelector="daemonset-name=daemon-set")["items"]) == count)
        newest = max(self.revisions.list()["items"], key=lambda found: found["revision"])
        equal({pod["metadata"]["labels"][HASH] for pod in self.own()}, {newest["metadata"]["labels"][HASH]})
        return newest

    def image(self, image):
        self.sets.patch("daemon-set", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}, kind=STRATEGIC)


@behaviour(TITLE + "should run and stop simple daemon", serial=True)
def simple(world):
    here = Daemons(world)
    here.everywhere()
    name = here.own()[0]["metadata"]["name"]
    here.pods.delete(name, {"gracePeriodSeconds": 0})
    eventually("it is gone", lambda: not here.pods.exists(name))
    here.everywhere()


@behaviour(TITLE + "should run and stop complex daemon", serial=True)
def complex_(world):
    here = Daemons(world, pod={"nodeSelector": {"daemonset-color": "blue"}})
    here.on([])
    node = here.nodes.names()[0]
    world.after(lambda: here.colour(node, None))
    here.colour(node, "blue")
    here.on([node])
    here.colour(node, "green")
    here.on([])
    patch = {"spec": {"template": {"spec": {"nodeSelector": {"daemonset-color": "green"}}}, "updateStrategy": {"type": "RollingUpdate"}}}
    here.sets.patch("daemon-set", patch, kind=STRATEGIC)
    here.on([node])


@behaviour(TITLE + "should retry creating failed daemon pods", serial=True)
def retry(world):
    here = Daemons(world)
    here.everywhere()
    pod = here.own()[0]
    pod["metadata"].pop("resourceVersion")
    pod["status"]["phase"] = "Failed"
    here.pods.update(pod, "status")
    name = pod["metadata"]["name"]
    eventually("the failed pod is gone", lambda: not here.pods.exists(name))
    here.everywhere()


@behaviour(TITLE + "should update pod when spec was updated and update strategy is RollingUpdate", serial=True)
def update(world):
    here = Daemons(world, updateStrategy={"type": "RollingUpdate"})
    here.everywhere()
    equal(here.history(1)["revision"], 1)
    digest = here.own()[0]["status"]["containerStatuses"][0]["imageID"].rsplit("@")[-1]
    image = f"{world.image}@{digest}"
    here.image(image)

    def updated():
        pods = here.own()
        unavailable = [p for p in pods if (condition_of(p, "Ready") or {}).get("status") != "True"]
        assert len(unavailable) <= 1, f"{len(unavailable)} are not available"
        return {(p["spec"]["nodeName"], p["spec"]["containers"][0]["image"]) for p in pods} == {(n, image) for n in here.nodes.names()}

    eventually("all are updated", updated)
    here.everywhere()
    equal(here.history(2)["revision"], 2)
    until(here.sets, "daemon-set", "counts the updated", lambda found: found["status"].get("updatedNumberScheduled") == len(here.nodes.names()))


@behaviour(TITLE + "should rollback without unnecessary restarts", serial=True)
def rollback(world):
    here = Daemons(world, updateStrategy={"type": "RollingUpdate"})
    here.everywhere()
    here.image("foo:non-existent")
    eventually("one is new", lambda: [p for p in here.own() if p["spec"]["containers"][0]["image"] == "foo:non-existent"])
    kept = {p["metadata"]["name"]: p["metadata"]["uid"] for p in here.own() if p["spec"]["containers"][0]["image"] == world.image}
    assert kept and len(kept) < len(here.nodes.names()), kept
    here.image(world.image)
    here.everywhere()
    after = {p["metadata"]["name"]: p for p in here.own()}
    for name, uid in kept.items():
        equal(after[name]["metadata"]["uid"], uid)
        equal(after[name]["status"]["containerStatuses"][0]["restartCount"], 0)
    equal({p["spec"]["containers"][0]["image"] for p in after.values()}, {world.image})


@behaviour(TITLE + "should list and delete a collection of DaemonSets", serial=True)
def collection(world):
    here, label = Daemons(world), unique("ds")
    here.sets.patch("daemon-set", {"metadata": {"labels": {"e2e": label}}})
    here.everywhere()
    equal(len(world.resource("apps/v1", "daemonsets").list(labelSelector=f"e2e={label}")["items"]), 1)
    here.sets.delete_collection({"gracePeriodSeconds": 1}, labelSelector=f"e2e={label}")
    eventually("it is gone", lambda: not here.sets.list()["items"])
    eventually("its pods are gone", lambda: not here.pods.list()["items"])


@behaviour(TITLE + "should verify changes to a daemon set status", serial=True)
def status(world):
    here = Daemons(world)
    here.everywhere()
    added = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    here.sets.change("daemon-set", lambda found: found["status"].setdefault("conditions", []).append(added), "status")
    assert condition_of(here.sets.get("daemon-set", "status"), "StatusUpdate"), "the condition is lost"
    # A whole object with nothing but its status, as Go writes it.
    counts = dict.fromkeys(("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0)
    empty = {"selector": None, "template": {"metadata": {"creationTimestamp": None}, "spec": {"containers": None}}, "updateStrategy": {}}
    only = {**counts, "conditions": [{"type": "StatusPatched", "status": "True", "lastTransitionTime": None}]}
    patch = {"metadata": {"creationTimestamp": None}, "spec": empty, "status": only}
    patched = here.sets.patch("daemon-set", patch, "status", kind=MERGE)
    equal([c["type"] for c in patched["status"]["conditions"]], ["StatusPatched"])
