"""What pods are told of themselves through the environment."""

from pods import Pods
from registry import behaviour


def field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


@behaviour("[sig-node] Downward API should provide pod name, namespace and IP address as env vars [NodeConformance]")
def names(world):
    pods = Pods(world, world.namespace("downward-api"))
    env = [field("NAME", "metadata.name"), field("NAMESPACE", "metadata.namespace"), field("IP", "status.podIP")]
    said = pods.says("told", pods.container('echo "$NAME $NAMESPACE $IP"', env=env))
    pod = pods.resource.get("told")
    assert said.split() == ["told", pods.namespace, pod["status"]["podIP"]], said
