"""Namespaces: labels, status, finalizers, and how they end."""

from client import STRATEGIC, equal, eventually, meta
from registry import behaviour

TITLE = "[sig-api-machinery] Namespaces [Serial] should "


def namespaces(world):
    return world.resource("v1", "namespaces")


@behaviour(TITLE + "patch a Namespace")
def patched(world):
    name = world.namespace("nspatch")
    namespaces(world).patch(name, {"metadata": {"labels": {"testLabel": "testValue"}}}, kind=STRATEGIC)
    equal(namespaces(world).get(name)["metadata"]["labels"]["testLabel"], "testValue")


@behaviour(TITLE + "apply an update to a Namespace")
def updated(world):
    name = world.namespace("nsupdate")
    found = namespaces(world).change(name, lambda body: body["metadata"]["labels"].update({name: "updated"}))
    equal(found["metadata"]["labels"][name], "updated")


@behaviour(TITLE + "apply changes to a namespace status")
def status(world):
    name, resource = world.namespace("nsstatus"), namespaces(world)
    equal(resource.get(name, "status")["status"]["phase"], "Active")
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by an e2e test"}
    patched = resource.patch(name, {"metadata": {"annotations": {"e2e-patched-ns-status": name}}, "status": {"conditions": [condition]}}, "status")
    equal(patched["metadata"]["annotations"]["e2e-patched-ns-status"], name)
    equal(patched["status"]["conditions"][-1]["type"], "StatusPatch")

    def add(body):
        body["status"]["conditions"].append({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by an e2e test"})

    assert "StatusUpdate" in [c["type"] for c in resource.change(name, add, "status")["status"]["conditions"]]


@behaviour(TITLE + "apply a finalizer to a Namespace")
def finalizer(world):
    name, resource, fake = world.namespace("nsfinalize"), namespaces(world), "e2e.example.com/fakeFinalizer"
    found = resource.get(name)
    found["spec"]["finalizers"].append(fake)
    finalized = world.api.call("PUT", resource.of(name, "finalize"), found)
    assert fake in finalized["spec"]["finalizers"]
    finalized["spec"]["finalizers"].remove(fake)
    finalized = world.api.call("PUT", resource.of(name, "finalize"), finalized)
    equal(finalized["spec"]["finalizers"], ["kubernetes"])


@behaviour(TITLE + "ensure that all services are removed when a namespace is deleted")
def services_go(world):
    name, resource = world.namespace("nsdelete"), namespaces(world)
    services = world.resource("v1", "services", name)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta("test-service")}
    service["spec"] = {"selector": {"foo": "bar"}, "ports": [{"port": 80, "targetPort": 80}]}
    services.create(service)
    resource.delete(name)
    eventually("the namespace is gone", lambda: not resource.exists(name))
    resource.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name, {"e2e-framework": "nsdelete"})})
    assert not services.exists("test-service")


@behaviour("[sig-api-machinery] OrderedNamespaceDeletion namespace deletion should delete pod first")
def pods_go_first(world):
    name, resource = world.namespace("nsordered"), namespaces(world)
    pods, maps = world.resource("v1", "pods", name), world.resource("v1", "configmaps", name)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta("testpod", finalizers=["e2e.example.com/finalizer"])}
    pod["spec"] = {"containers": [{"name": "nginx", "image": "registry.k8s.io/pause:3.10"}]}
    pods.create(pod)
    world.after(lambda: pods.patch("testpod", {"metadata": {"finalizers": None}}))
    maps.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("test-configmap"), "data": {"key": "value"}})
    resource.delete(name)

    def blocked():
        conditions = {c["type"]: c for c in resource.get(name)["status"].get("conditions", [])}
        deleted = "deletionTimestamp" in pods.get("testpod")["metadata"]
        remaining = conditions.get("NamespaceContentRemaining", {})
        return deleted and remaining.get("status") == "True" and "pods" in remaining["message"]

    eventually("the pod is deleted and named as what remains", blocked)
    assert "deletionTimestamp" not in maps.get("test-configmap")["metadata"]
    pods.patch("testpod", {"metadata": {"finalizers": None}})
    eventually("the namespace is gone", lambda: not resource.exists(name))
