"""Pods of a high priority take the place of lower ones."""

from client import MERGE, STRATEGIC, equal, eventually, meta
from registry import behaviour, unique
from workloads import condition_of, template, until, workload

TITLE = "[sig-scheduling] SchedulerPreemption [Serial] "
RESOURCE = "scheduling.k8s.io/foo"
CAPACITY = "/status/capacity/"


def classes(world, **values):
    """The names of new priority classes by what they are called here."""
    resource, names = world.resource("scheduling.k8s.io/v1", "priorityclasses"), {}
    for called, value in values.items():
        names[called] = unique(f"sched-preemption-{called}")
        resource.create({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta(names[called]), "value": value})
        world.after(lambda name=names[called]: resource.delete(name))
    return names


def advertise(world, node, resource, amount):
    """An extended resource of a node, patched into its capacity alone: the node itself brings it into what can be allocated."""
    nodes = world.resource("v1", "nodes")
    nodes.patch(node, {"status": {"capacity": {resource: amount}}}, "status", kind=STRATEGIC)
    gone = {"status": {"capacity": {resource: None}, "allocatable": {resource: None}}}
    world.after(lambda: nodes.patch(node, gone, "status", kind=MERGE))
    eventually(f"{resource} can be allocated", lambda: nodes.get(node)["status"]["allocatable"].get(resource) not in (None, "0"), 60)


def pod(world, name, priority, amount, node=None, finalizers=None, resource=RESOURCE):
    spec = template(world, {"name": name}, container={"resources": {"requests": {resource: amount}, "limits": {resource: amount}}})["spec"]
    if node:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    metadata = meta(name, {"name": name}, **({"finalizers": finalizers} if finalizers else {}))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "priorityClassName": priority}}


def runs(pods, name, seconds=60):
    return until(pods, name, "runs", lambda found: found["status"].get("phase") == "Running", seconds)


def leaves(pods, name):
    try:
        return "deletionTimestamp" in pods.get(name)["metadata"]
    except Exception as error:
        return getattr(error, "status", None) == 404


def victims(world, names):
    pods, made = world.resource("v1", "pods", world.namespace("sched-preemption")), []
    for index, node in enumerate(world.resource("v1", "nodes").names()):
        advertise(world, node, RESOURCE, "5")
        for place in range(2):
            name = f"pod{index}-{place}"
            pods.create(pod(world, name, names["medium" if made else "low"], "2", node))
            made.append(name)
    for name in made:
        found = runs(pods, name)
        equal(found["spec"]["priority"], 1 if name == made[0] else 100)
    return pods, made


def displaced(world, pods, made):
    assert leaves(pods, made[0]), pods.get(made[0])["status"]
    for name in made[1:]:
        assert "deletionTimestamp" not in pods.get(name)["metadata"], f"{name} was to stay"


@behaviour(TITLE + "validates basic preemption works", serial=True)
def basic(world):
    names = classes(world, low=1, medium=100, high=1000)
    pods, made = victims(world, names)
    pods.create(pod(world, "preemptor-pod", names["high"], "2"))
    runs(pods, "preemptor-pod")
    displaced(world, pods, made)


@behaviour(TITLE + "validates lower priority pod preemption by critical pod", serial=True)
def critical(world):
    names = classes(world, low=1, medium=100)
    pods, made = victims(world, names)
    system = world.resource("v1", "pods", "kube-system")
    world.after(lambda: system.delete("critical-pod", {"gracePeriodSeconds": 0}))
    system.create(pod(world, "critical-pod", "system-cluster-critical", "2"))
    equal(runs(system, "critical-pod")["spec"]["priority"], 2000000000)
    displaced(world, pods, made)


@behaviour(TITLE + "validates pod disruption condition is added to the preempted pod", serial=True)
def disruption_condition(world):
    names = classes(world, low=1, high=1000)
    pods, node = world.resource("v1", "pods", world.namespace("sched-preemption")), world.resource("v1", "nodes").names()[0]
    advertise(world, node, RESOURCE, "1")
    pods.create(pod(world, "victim-pod", names["low"], "1", node, ["example.com/test-finalizer"]))
    world.after(lambda: pods.patch("victim-pod", {"metadata": {"finalizers": None}}))
    runs(pods, "victim-pod")
    pods.create(pod(world, "preemptor-pod", names["high"], "1", node))
    eventually("the victim is to go", lambda: leaves(pods, "victim-pod"))
    found = until(pods, "victim-pod", "is disrupted", lambda found: condition_of(found, "DisruptionTarget"))
    disrupted = condition_of(found, "DisruptionTarget")
    equal((disrupted["status"], disrupted["reason"]), ("True", "PreemptionByScheduler"))
    pods.patch("victim-pod", {"metadata": {"finalizers": None}})
    runs(pods, "preemptor-pod")


@behaviour(TITLE + "PreemptionExecutionPath runs ReplicaSets to verify preemption running path", serial=True)
def execution_path(world):
    names = classes(world, p1=1, p2=2, p3=3, p4=4)
    namespace, node, resource = world.namespace("sched-preemption-path"), world.resource("v1", "nodes").names()[0], "example.com/fakecpu"
    advertise(world, node, resource, "1000")
    sets, pods = world.resource("apps/v1", "replicasets", namespace), world.resource("v1", "pods", namespace)
    host = world.resource("v1", "nodes").get(node)["metadata"]["labels"]["kubernetes.io/hostname"]
    watch = pods.watch()

    def replicas(called, count, amount):
        labels = {"name": called}
        asked = {"resources": {"requests": {resource: amount}, "limits": {resource: amount}}}
        spec = template(world, labels, container=asked, nodeSelector={"kubernetes.io/hostname": host}, priorityClassName=names[called])
        sets.create(workload("ReplicaSet", f"rs-{called}", labels, spec, replicas=count))

    for called, count, amount in (("p1", 1, "200"), ("p2", 1, "300"), ("p3", 1, "450")):
        replicas(called, count, amount)
        until(sets, f"rs-{called}", "is ready", lambda found, count=count: found["status"].get("readyReplicas") == count)
    replicas("p4", 1, "500")
    until(sets, "rs-p4", "is ready", lambda found: found["status"].get("readyReplicas") == 1)

    def seen():
        with watch.news:
            objects = [event["object"] for event in watch.events if event["type"] == "ADDED"]
        return {called: len([o for o in objects if o["metadata"]["labels"]["name"] == called]) for called in names}

    eventually("the lower two were made again", lambda: seen()["p1"] >= 2 and seen()["p2"] >= 2)
    equal((seen()["p3"], seen()["p4"]), (1, 1))
    until(sets, "rs-p3", "was left", lambda found: found["status"].get("readyReplicas") == 1)
    watch.close()
