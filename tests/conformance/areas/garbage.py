"""What goes, stays or is orphaned with its owner."""

import time

from client import eventually, meta, refused
from registry import behaviour

TITLE = "[sig-api-machinery] Garbage collector should "
IMAGE = "registry.k8s.io/pause:3.10"
PODS = 10


def template(labels):
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": IMAGE}]}}


class Owners:
    """Controllers and their pods in a namespace of their own."""

    def __init__(self, world):
        self.world, self.namespace = world, world.namespace("gc")
        self.pods = self.of("pods")

    def of(self, plural, group_version="v1"):
        return self.world.resource(group_version, plural, self.namespace)

    def controller(self, name, replicas, labels):
        body = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": meta(name)}
        body["spec"] = {"replicas": replicas, "selector": labels, "template": template(labels)}
        return self.of("replicationcontrollers").create(body)

    def have_pods(self, count):
        eventually(f"{count} pods", lambda: len(self.pods.list()["items"]) == count)

    def no_pods(self):
        eventually("no pods", lambda: not self.pods.list()["items"])


@behaviour(TITLE + "delete pods created by rc when not orphaning")
def background(world):
    owners = Owners(world)
    owners.controller("simpletest.rc", 2, {"app": "gc"})
    owners.have_pods(2)
    owners.of("replicationcontrollers").delete("simpletest.rc", {"propagationPolicy": "Background"})
    owners.no_pods()


@behaviour(TITLE + "orphan pods created by rc if delete options say so [Serial]")
def orphan(world):
    owners = Owners(world)
    controllers = owners.of("replicationcontrollers")
    uid = owners.controller("simpletest.rc", PODS, {"app": "gc"})["metadata"]["uid"]
    owners.have_pods(PODS)
    controllers.delete("simpletest.rc", {"propagationPolicy": "Orphan", "preconditions": {"uid": uid}})
    eventually("the controller is gone", lambda: not controllers.exists("simpletest.rc"))
    time.sleep(3)  # only a span can show that the collector leaves them
    pods = owners.pods.list()["items"]
    assert len(pods) == PODS and not any("deletionTimestamp" in pod["metadata"] for pod in pods)
    assert not any(pod["metadata"].get("ownerReferences") for pod in pods)


@behaviour(TITLE + "keep the rc around until all its pods are deleted if the deleteOptions says so [Serial]")
def foreground(world):
    owners = Owners(world)
    controllers = owners.of("replicationcontrollers")
    uid = owners.controller("simpletest.rc", PODS, {"app": "gc"})["metadata"]["uid"]
    owners.have_pods(PODS)
    controllers.delete("simpletest.rc", {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}})

    def gone():
        pods = len(owners.pods.list()["items"])
        if controllers.exists("simpletest.rc"):
            return False
        assert not owners.pods.list()["items"], f"the controller went before {pods} pods"
        return True

    eventually("the controller is gone", gone)


@behaviour(TITLE + "not delete dependents that have both valid owner and owner that's waiting for dependents to be deleted [Serial]")
def two_owners(world):
    owners = Owners(world)
    controllers = owners.of("replicationcontrollers")
    owners.controller("to-be-deleted", PODS, {"app": "gc"})
    stays = owners.controller("to-stay", 0, {"app": "stays"})
    owners.have_pods(PODS)
    second = {"apiVersion": "v1", "kind": "ReplicationController", "name": "to-stay", "uid": stays["metadata"]["uid"]}
    kept = owners.pods.names()[: PODS // 2]
    for name in kept:
        patch = {"metadata": {"ownerReferences": [second]}}
        owners.pods.patch(name, patch, kind="application/strategic-merge-patch+json")
    controllers.delete("to-be-deleted", {"propagationPolicy": "Foreground"})
    eventually("the controller is gone", lambda: not controllers.exists("to-be-deleted"))
    pods = owners.pods.list()["items"]
    assert sorted(pod["metadata"]["name"] for pod in pods) == kept, [pod["metadata"]["name"] for pod in pods]
    assert not any("deletionTimestamp" in pod["metadata"] for pod in pods)
    assert all([owner["name"] for owner in pod["metadata"]["ownerReferences"]] == ["to-stay"] for pod in pods)


@behaviour(TITLE + "not be blocked by dependency circle")
def circle(world):
    owners = Owners(world)
    pods = {}
    for name in ("pod1", "pod2", "pod3"):
        spec = {"containers": [{"name": "nginx", "image": IMAGE}]}
        pods[name] = owners.pods.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": spec})
    for name, owner in (("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")):
        reference = {"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": pods[owner]["metadata"]["uid"]}
        reference.update(controller=True, blockOwnerDeletion=True)
        owners.pods.patch(name, {"metadata": {"ownerReferences": [reference]}}, kind="application/strategic-merge-patch+json")
    owners.pods.delete("pod1", {"propagationPolicy": "Foreground"})
    owners.no_pods()


def deployment(owners):
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("simpletest.deployment")}
    body["spec"] = {"replicas": 2, "selector": {"matchLabels": {"app": "gc"}}, "template": template({"app": "gc"})}
    owners.of("deployments", "apps/v1").create(body)
    owners.have_pods(2)


@behaviour(TITLE + "delete RS created by deployment when not orphaning")
def deployment_goes(world):
    owners = Owners(world)
    deployment(owners)
    owners.of("deployments", "apps/v1").delete("simpletest.deployment", {"propagationPolicy": "Background"})
    eventually("no replica sets", lambda: not owners.of("replicasets", "apps/v1").list()["items"])
    owners.no_pods()


@behaviour(TITLE + "orphan RS created by deployment when deleteOptions.PropagationPolicy is Orphan")
def deployment_orphans(world):
    owners = Owners(world)
    deployment(owners)
    deployments, sets = owners.of("deployments", "apps/v1"), owners.of("replicasets", "apps/v1")
    deployments.delete("simpletest.deployment", {"propagationPolicy": "Orphan"})
    eventually("the deployment is gone", lambda: not deployments.exists("simpletest.deployment"))
    refused(404, lambda: deployments.get("simpletest.deployment"))
    time.sleep(2)  # only a span can show that the collector leaves it
    [left] = sets.list()["items"]
    assert not left["metadata"].get("ownerReferences") and "deletionTimestamp" not in left["metadata"]
    assert all(pod["metadata"]["ownerReferences"] for pod in owners.pods.list()["items"])
