"""Namespaces that go with the pods in them."""

from client import equal, eventually, refused
from pods import Pods
from registry import behaviour


@behaviour("[sig-api-machinery] Namespaces [Serial] should ensure that all pods are removed when a namespace is deleted", serial=True)
def pods_go(world):
    pods = Pods(world, world.namespace("nsdeletetest"))
    pods.create("test-pod", pods.container())
    pods.phase("test-pod", "Running")
    spaces = world.resource("v1", "namespaces")
    labels = spaces.get(pods.namespace)["metadata"]["labels"]
    spaces.delete(pods.namespace)
    eventually("the namespace is gone", lambda: not spaces.exists(pods.namespace), 90)
    del labels["kubernetes.io/metadata.name"]
    spaces.create({"metadata": {"name": pods.namespace, "labels": labels}})
    refused(404, lambda: pods.resource.get("test-pod"))
    equal(pods.resource.names(), [])
