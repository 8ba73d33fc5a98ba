"""What keeps a pod from a node: resources, selectors and ports of the host."""

from client import MERGE, equal, eventually
from pods import Pods
from registry import behaviour, unique

TITLE = "[sig-scheduling] SchedulerPredicates [Serial] "


def unschedulable(pods, name):
    """It waits, and both its condition and an event say why."""

    def looks(pod):
        found = [c for c in pod["status"].get("conditions", []) if c["type"] == "PodScheduled"]
        return found and (found[0]["status"], found[0].get("reason")) == ("False", "Unschedulable")

    pod = pods.wait(name, "is unschedulable", looks)
    assert not pod["spec"].get("nodeName"), pod["spec"]
    events = pods.world.resource("v1", "events", pods.namespace)
    selector = {"fieldSelector": f"involvedObject.name={name},involvedObject.namespace={pods.namespace},reason=FailedScheduling"}
    eventually("an event says so", lambda: events.list(**selector)["items"])


def millis(quantity):
    return int(quantity[:-1]) if quantity.endswith("m") else int(float(quantity) * 1000)


def label(world, node):
    nodes, key = world.resource("v1", "nodes"), "kubernetes.io/" + unique("e2e")
    nodes.patch(node, {"metadata": {"labels": {key: "42"}}}, kind=MERGE)
    world.after(lambda: nodes.patch(node, {"metadata": {"labels": {key: None}}}, kind=MERGE))
    return {key: "42"}


@behaviour(TITLE + "validates resource limits of pods that are allowed to run", serial=True)
def limits(world):
    pods = Pods(world, world.namespace("sched-pred"))
    nodes, everywhere = world.resource("v1", "nodes"), world.resource("v1", "pods").list()["items"]
    largest = 0
    for index, node in enumerate(nodes.list()["items"]):
        name, chosen = node["metadata"]["name"], label(world, node["metadata"]["name"])
        free = millis(node["status"]["allocatable"]["cpu"])
        for pod in everywhere:
            if pod["spec"].get("nodeName") == name and pod["status"].get("phase") not in ("Succeeded", "Failed"):
                free -= sum(millis(c.get("resources", {}).get("requests", {}).get("cpu", "0")) for c in pod["spec"]["containers"])
        asked = free * 7 // 10
        largest = max(largest, free)
        amount = {"requests": {"cpu": f"{asked}m"}, "limits": {"cpu": f"{asked}m"}}
        pods.create(f"filler-{index}", pods.container(resources=amount), nodeSelector=chosen)
        equal(pods.phase(f"filler-{index}", "Running")["spec"]["nodeName"], name)
    amount = {"requests": {"cpu": f"{largest // 2}m"}, "limits": {"cpu": f"{largest // 2}m"}}
    pods.create("additional-pod", pods.container(resources=amount))
    unschedulable(pods, "additional-pod")


@behaviour(TITLE + "validates that NodeSelector is respected if not matching", serial=True)
def selector_without_node(world):
    pods = Pods(world, world.namespace("sched-pred"))
    pods.create("restricted-pod", pods.container(), nodeSelector={"label": "nonempty"})
    unschedulable(pods, "restricted-pod")


@behaviour(TITLE + "validates that NodeSelector is respected if matching", serial=True)
def selector(world):
    pods, node = Pods(world, world.namespace("sched-pred")), world.resource("v1", "nodes").names()[-1]
    chosen = label(world, node)
    pods.create("with-labels", pods.container(), nodeSelector=chosen)
    equal(pods.ready("with-labels")["spec"]["nodeName"], node)


@behaviour(TITLE + "validates that there exists conflict between pods with same hostPort and protocol but one using 0.0.0.0 hostIP", serial=True)
def host_ports(world):
    pods, node = Pods(world, world.namespace("sched-pred")), world.resource("v1", "nodes").get(world.resource("v1", "nodes").names()[0])
    chosen = label(world, node["metadata"]["name"])
    inner = next(address["address"] for address in node["status"]["addresses"] if address["type"] == "InternalIP")
    for name, address in (("pod4", ""), ("pod5", inner)):
        port = {"containerPort": 8080, "hostPort": 54322, "protocol": "TCP", "hostIP": address}
        pods.create(name, pods.container("mkdir /www; exec httpd -f -p 8080 -h /www", ports=[port]), nodeSelector=chosen)
        if name == "pod4":
            pods.ready(name)
    unschedulable(pods, "pod5")
