"""What pods are told of themselves through the environment."""

import re

from client import equal
from pods import Pods
from registry import behaviour

DOWNWARD = "[sig-node] Downward API should provide "


def field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def share(name, resource):
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}}


def environment(pods, name, env, **spec):
    """The variables that the container sees, by name, and its pod."""
    said = pods.says(name, pods.container("env", env=env, **spec))
    return dict(line.split("=", 1) for line in said.splitlines()), pods.resource.get(name)


@behaviour(DOWNWARD + "pod name, namespace and IP address as env vars [NodeConformance]")
def names(world):
    pods = Pods(world, world.namespace("downward-api"))
    env = [field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("IP", "status.podIP")]
    found, pod = environment(pods, "told", env)
    equal([found["NAME"], found["NAMESPACE"], found["IP"]], ["told", pods.namespace, pod["status"]["podIP"]])


@behaviour(DOWNWARD + "host IP as an env var [NodeConformance]", DOWNWARD + "hostIPs as an env var [NodeConformance]")
def host_addresses(world):
    pods = Pods(world, world.namespace("downward-api"))
    found, pod = environment(pods, "told", [field("HOST_IP", "status.hostIP"), field("HOST_IPS", "status.hostIPs")])
    assert re.fullmatch(r"[0-9.]+|[0-9a-f:]+", found["HOST_IP"]), found
    equal(found["HOST_IP"], pod["status"]["hostIP"])
    equal(found["HOST_IPS"].split(","), [one["ip"] for one in pod["status"]["hostIPs"]])


@behaviour(DOWNWARD + "pod UID as env vars [NodeConformance]")
def identity(world):
    pods = Pods(world, world.namespace("downward-api"))
    found, pod = environment(pods, "told", [field("POD_UID", "metadata.uid")])
    equal(found["POD_UID"], pod["metadata"]["uid"])


SHARES = [share("CPU_LIMIT", "limits.cpu"), share("MEMORY_LIMIT", "limits.memory")]


@behaviour(DOWNWARD + "container's limits.cpu/memory and requests.cpu/memory as env vars [NodeConformance]")
def shares(world):
    pods = Pods(world, world.namespace("downward-api"))
    resources = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
    env = [*SHARES, share("CPU_REQUEST", "requests.cpu"), share("MEMORY_REQUEST", "requests.memory")]
    found, _ = environment(pods, "told", env, resources=resources)
    wanted = {"CPU_LIMIT": "2", "MEMORY_LIMIT": "67108864", "CPU_REQUEST": "1", "MEMORY_REQUEST": "33554432"}
    equal({name: found.get(name) for name in wanted}, wanted)


@behaviour(DOWNWARD + "default limits.cpu/memory from node allocatable [NodeConformance]")
def whole_node(world):
    pods = Pods(world, world.namespace("downward-api"))
    found, pod = environment(pods, "told", SHARES)
    node = world.resource("v1", "nodes").get(pod["spec"]["nodeName"])["status"]["allocatable"]
    equal(found["CPU_LIMIT"], str(-(-int(node["cpu"][:-1]) // 1000) if node["cpu"].endswith("m") else node["cpu"]))
    assert int(found["MEMORY_LIMIT"]) > 0, found
