"""Deployments: how a new template takes the place of an old one."""

from client import MERGE, STRATEGIC, equal, eventually, meta
from registry import behaviour
from workloads import condition_of, controller_of, ready_pods, template, until, workload

TITLE = "[sig-apps] Deployment "
MISSING = "webserver:404"
REVISION = "deployment.kubernetes.io/revision"


class Here:
    """The namespace of one behaviour."""

    def __init__(self, world):
        self.world, self.namespace = world, world.namespace("deployment")
        self.deployments, self.sets = (world.resource("apps/v1", plural, self.namespace) for plural in ("deployments", "replicasets"))
        self.pods = world.resource("v1", "pods", self.namespace)

    def create(self, name, labels, replicas, **spec):
        container = spec.pop("container", None)
        pod = template(self.world, labels, "exec sleep 100000", container, terminationGracePeriodSeconds=0)
        return self.deployments.create(workload("Deployment", name, labels, pod, replicas=replicas, **spec))

    def replica_set(self, name, labels, replicas, **spec):
        return self.sets.create(workload("ReplicaSet", name, labels, template(self.world, labels, "exec sleep 100000", terminationGracePeriodSeconds=0, **spec), replicas=replicas))

    def complete(self, name, seconds=120):
        """As kubectl has it: every replica is of the new template and available, and no other is left."""

        def holds(found):
            wanted, status = found["spec"]["replicas"], found["status"]
            if status.get("observedGeneration", 0) < found["metadata"]["generation"]:
                return False
            return [status.get(f, 0) for f in ("updatedReplicas", "replicas", "availableReplicas")] == [wanted] * 3

        return until(self.deployments, name, "is complete", holds, seconds)

    def revision(self, name, revision):
        return until(self.deployments, name, f"has revision {revision}", lambda found: found["metadata"].get("annotations", {}).get(REVISION) == revision)

    def set_of(self, name, revision):
        for found in self.sets.list()["items"]:
            if (controller_of(found) or {}).get("name") == name and found["metadata"].get("annotations", {}).get(REVISION) == revision:
                return found
        return None

    def image(self, name, image, **change):
        self.deployments.patch(name, {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}, **change}}, kind=STRATEGIC)


@behaviour(TITLE + "RollingUpdateDeployment should delete old pods and create new ones")
def rolling(world):
    here, labels = Here(world), {"name": "sample-pod"}
    body = workload("ReplicaSet", "test-rolling-update-controller", labels, template(world, {**labels, "pod": "httpd"}), replicas=1)
    body["metadata"]["annotations"] = {REVISION: "3546343826724305832"}
    body["spec"]["selector"] = {"matchLabels": {**labels, "pod": "httpd"}}
    here.sets.create(body)
    ready_pods(here.pods, 1, "pod=httpd")
    here.create("test-rolling-update-deployment", labels, 1)
    here.revision("test-rolling-update-deployment", "3546343826724305833")
    here.complete("test-rolling-update-deployment")
    old = here.sets.get("test-rolling-update-controller")
    equal((old["spec"]["replicas"], old["status"]["replicas"]), (0, 0))
    equal(controller_of(old)["name"], "test-rolling-update-deployment")


@behaviour(TITLE + "RecreateDeployment should delete old pods and create new ones")
def recreate(world):
    here, labels = Here(world), {"name": "sample-pod-3"}
    here.create("test-recreate-deployment", labels, 1, strategy={"type": "Recreate"})
    here.revision("test-recreate-deployment", "1")
    here.complete("test-recreate-deployment")
    old = here.pods.names()
    watch = here.pods.watch(resourceVersion=here.pods.list()["metadata"]["resourceVersion"])
    here.image("test-recreate-deployment", world.image, template={"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "b"}]}]}})
    here.revision("test-recreate-deployment", "2")
    here.complete("test-recreate-deployment")
    alive = set(old)
    with watch.news:
        events = list(watch.events)
    watch.close()
    for event in events:
        pod = event["object"]
        name = pod["metadata"]["name"]
        if event["type"] == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed"):
            alive.discard(name)
        elif name not in old:
            assert not alive, f"{name} has come while {alive} was there"


@behaviour(TITLE + "deployment should delete old replica sets")
def history(world):
    here, labels = Here(world), {"name": "cleanup-pod"}
    here.replica_set("test-cleanup-controller", labels, 1)
    ready_pods(here.pods, 1, "name=cleanup-pod")
    watch = here.pods.watch()
    here.create("test-cleanup-deployment", labels, 1, revisionHistoryLimit=0, container={"env": [{"name": "A", "value": "b"}]})
    here.complete("test-cleanup-deployment")
    eventually("old sets are gone", lambda: [controller_of(found)["name"] for found in here.sets.list()["items"] if controller_of(found)] == ["test-cleanup-deployment"] and len(here.sets.names()) == 1)
    with watch.news:
        made = [event for event in watch.events if event["type"] == "ADDED"]
    watch.close()
    equal(len(made), 2)


@behaviour(TITLE + "deployment should support rollover")
def rollover(world):
    here, labels = Here(world), {"name": "rollover-pod"}
    here.replica_set("test-rollover-controller", labels, 1)
    ready_pods(here.pods, 1, "name=rollover-pod")
    until(here.sets, "test-rollover-controller", "is available", lambda found: found["status"].get("availableReplicas") == 1)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    here.create("test-rollover-deployment", labels, 1, minReadySeconds=10, strategy=strategy, container={"image": "example.com/nobody/redis-slave:nonexistent", "env": [{"name": "A", "value": "b"}]})
    here.revision("test-rollover-deployment", "1")
    first = eventually("the first set", lambda: here.set_of("test-rollover-deployment", "1"))["metadata"]["name"]
    until(here.sets, first, "has a pod", lambda found: found["status"].get("replicas") == 1)
    here.image("test-rollover-deployment", world.image, minReadySeconds=10)
    here.revision("test-rollover-deployment", "2")
    second = eventually("the second set", lambda: here.set_of("test-rollover-deployment", "2"))["metadata"]["name"]
    here.complete("test-rollover-deployment")
    for name in (first, "test-rollover-controller"):
        found = until(here.sets, name, "has none", lambda found: not found["status"].get("replicas"))
        equal(found["spec"]["replicas"], 0)
    found = here.sets.get(second)
    equal((found["spec"]["replicas"], found["status"]["availableReplicas"]), (1, 1))
    made = here.pods.list()["items"][0]
    ready = next(c for c in made["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True", ready


@behaviour(TITLE + "deployment should support proportional scaling")
def proportional(world):
    here, labels = Here(world), {"name": "httpd"}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    here.create("webserver-deployment", labels, 10, strategy=strategy)
    ready_pods(here.pods, 10, "name=httpd", 180)
    here.complete("webserver-deployment")
    first = here.set_of("webserver-deployment", "1")["metadata"]["name"]
    here.image("webserver-deployment", MISSING)
    second = eventually("the second set", lambda: here.set_of("webserver-deployment", "2"))["metadata"]["name"]
    until(here.sets, first, "has eight", lambda found: (found["spec"]["replicas"], found["status"].get("availableReplicas")) == (8, 8))
    until(here.sets, second, "has five", lambda found: (found["spec"]["replicas"], found["status"].get("replicas")) == (5, 5))
    until(here.deployments, "webserver-deployment", "counts them", lambda found: found["status"].get("replicas") == 13)
    here.deployments.change("webserver-deployment", lambda found: found["spec"].update(replicas=30))
    until(here.sets, first, "is scaled to 20", lambda found: found["spec"]["replicas"] == 20)
    until(here.sets, second, "is scaled to 13", lambda found: found["spec"]["replicas"] == 13)


@behaviour(TITLE + "Deployment should have a working scale subresource")
def scale(world):
    here, labels = Here(world), {"name": "sample-pod"}
    here.create("test-new-deployment", labels, 1)
    here.complete("test-new-deployment")
    found = here.deployments.get("test-new-deployment", "scale")
    equal((found["spec"]["replicas"], found["status"]["replicas"], found["status"]["selector"]), (1, 1, "name=sample-pod"))
    found["metadata"].pop("resourceVersion")
    found["spec"]["replicas"] = 2
    equal(here.deployments.update(found, "scale")["spec"]["replicas"], 2)
    equal(here.deployments.get("test-new-deployment")["spec"]["replicas"], 2)
    here.deployments.patch("test-new-deployment", {"spec": {"replicas": 4}}, "scale", kind=STRATEGIC)
    equal(here.deployments.get("test-new-deployment")["spec"]["replicas"], 4)


@behaviour(TITLE + "should run the lifecycle of a Deployment")
def life(world):
    here, labels = Here(world), {"test-deployment-static": "true"}
    watch = here.deployments.watch(labelSelector="test-deployment-static=true")
    here.create("test-deployment", labels, 2)
    watch.until(lambda e: e["type"] == "ADDED")
    watch.until(lambda e: e["object"]["status"].get("readyReplicas") == 2)
    patch = {"metadata": {"labels": {"test-deployment": "patched"}}, "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "b"}]}]}}}}
    here.deployments.patch("test-deployment", patch, kind=STRATEGIC)
    watch.until(lambda e: e["type"] == "MODIFIED" and e["object"]["metadata"]["labels"].get("test-deployment") == "patched")
    here.complete("test-deployment")
    equal(len(world.resource("apps/v1", "deployments").list(labelSelector="test-deployment-static=true")["items"]) >= 1, True)
    # Its status takes no labels.
    changed = {"metadata": {"labels": {"test-deployment": "patched-status"}}, "status": {"readyReplicas": 2}}
    equal(here.deployments.patch("test-deployment", changed, "status", kind=STRATEGIC)["status"]["readyReplicas"], 2)
    equal(here.deployments.get("test-deployment", "status")["metadata"]["labels"]["test-deployment"], "patched")
    watch.until(lambda e: e["object"]["status"].get("readyReplicas") == 2)
    until(here.deployments, "test-deployment", "has its true status again", lambda found: found["status"].get("readyReplicas") == 1)
    here.deployments.change("test-deployment", lambda found: found["spec"].update(replicas=2))
    here.complete("test-deployment")
    here.deployments.delete_collection({"gracePeriodSeconds": 1}, labelSelector="test-deployment-static=true")
    watch.until(lambda e: e["type"] == "DELETED")
    watch.close()


@behaviour(TITLE + "should validate Deployment Status endpoints")
def status(world):
    here, labels = Here(world), {"e2e": "testing"}
    here.create("test-deployment-status", labels, 1)
    here.complete("test-deployment-status")
    added = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    here.deployments.change("test-deployment-status", lambda found: found["status"]["conditions"].append(added), "status")
    assert condition_of(here.deployments.get("test-deployment-status", "status"), "StatusUpdate"), "the condition is lost"
    patched = here.deployments.patch("test-deployment-status", {"status": {"conditions": [{"type": "StatusPatched", "status": "True"}]}}, "status", kind=MERGE)
    equal([c["type"] for c in patched["status"]["conditions"]], ["StatusPatched"])


def budget(minimum):
    spec = {"selector": {"matchLabels": {"foo": "bar"}}, "minAvailable": minimum}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta("foo"), "spec": spec}


def disrupted(world, count):
    namespace = world.namespace("disruption")
    pods, budgets = world.resource("v1", "pods", namespace), world.resource("policy/v1", "poddisruptionbudgets", namespace)
    for index in range(count):
        spec = template(world, {}, None)["spec"]
        pods.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta(f"pod-{index}", {"foo": "bar"}), "spec": spec})
    return pods, budgets


@behaviour("[sig-apps] DisruptionController should observe PodDisruptionBudget status updated")
def budget_observed(world):
    pods, budgets = disrupted(world, 3)
    budgets.create(budget(1))
    found = until(budgets, "foo", "allows", lambda found: found.get("status", {}).get("disruptionsAllowed", 0) > 0)
    equal(found["status"]["desiredHealthy"], 1)
    until(budgets, "foo", "has three", lambda found: (found["status"]["currentHealthy"], found["status"]["disruptionsAllowed"]) == (3, 2))


@behaviour("[sig-apps] DisruptionController should block an eviction until the PDB is updated to allow it")
def eviction_blocked(world):
    from client import Refused

    pods, budgets = disrupted(world, 3)
    budgets.create(budget(3))
    ready_pods(pods, 3, "foo=bar")
    until(budgets, "foo", "is processed", lambda found: found.get("status", {}).get("currentHealthy") == 3)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod-0"}}

    def evict():
        return world.api.call("POST", pods.of("pod-0", "eviction"), eviction)

    try:
        evict()
        raise AssertionError("the eviction was to be refused")
    except Refused as refusal:
        equal(refusal.status, 429)
        causes = refusal.body["details"]["causes"]
        equal([cause["reason"] for cause in causes], ["DisruptionBudget"])
    budgets.patch("foo", {"spec": {"minAvailable": 2}})
    until(budgets, "foo", "allows one", lambda found: found["status"]["disruptionsAllowed"] == 1)
    evict()
    eventually("it is gone", lambda: not pods.exists("pod-0"))
    ready_pods(pods, 2, "foo=bar")
    until(budgets, "foo", "allows none", lambda found: found["status"]["disruptionsAllowed"] == 0)
