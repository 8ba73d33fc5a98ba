"""Pods on a node that gets a taint NoExecute."""

import time

from client import equal, eventually
from pods import Pods
from registry import behaviour

TAINT = {"key": "kubernetes.io/e2e-evict-taint-key", "value": "evictTaintVal", "effect": "NoExecute"}


def tolerating(pods, name, seconds, **spec):
    toleration = {**TAINT, "operator": "Equal", "tolerationSeconds": seconds}
    pods.create(name, pods.container(), labels={"group": "taints"}, tolerations=[toleration], terminationGracePeriodSeconds=0, **spec)
    return pods.phase(name, "Running")


def untainted(world, node):
    def change(found):
        left = [taint for taint in found["spec"].get("taints") or [] if taint["key"] != TAINT["key"]]
        found["spec"]["taints"] = left

    world.resource("v1", "nodes").change(node, change)


def tainted(world, node):
    world.resource("v1", "nodes").change(node, lambda found: found["spec"].setdefault("taints", []).append(TAINT))
    world.after(lambda: untainted(world, node))


@behaviour("[sig-node] NoExecuteTaintManager Single Pod [Serial] removing taint cancels eviction [Disruptive]", serial=True)
def cancelled(world):
    pods = Pods(world, world.namespace("taint-single-pod"))
    node = tolerating(pods, "pod", 10)["spec"]["nodeName"]
    tainted(world, node)
    time.sleep(5)
    assert not pods.resource.get("pod")["metadata"].get("deletionTimestamp")
    untainted(world, node)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert not pods.resource.get("pod")["metadata"].get("deletionTimestamp"), "it was evicted"
        time.sleep(1)


@behaviour("[sig-node] NoExecuteTaintManager Multiple Pods [Serial] evicts pods with minTolerationSeconds [Disruptive]", serial=True)
def in_turn(world):
    pods = Pods(world, world.namespace("taint-multiple-pods"))
    node = tolerating(pods, "pod1", 5)["spec"]["nodeName"]
    hostname = world.resource("v1", "nodes").get(node)["metadata"]["labels"]["kubernetes.io/hostname"]
    tolerating(pods, "pod2", 25, nodeSelector={"kubernetes.io/hostname": hostname})
    begun = time.monotonic()
    tainted(world, node)
    eventually("the first is evicted", lambda: not pods.resource.exists("pod1"), 65)
    assert time.monotonic() - begun >= 5, "too early"
    equal(pods.resource.names(), ["pod2"])
    eventually("the second is evicted", lambda: not pods.resource.exists("pod2"), 110)
    assert time.monotonic() - begun >= 25, "too early"
