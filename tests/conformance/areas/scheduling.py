"""LimitRanges and priority classes."""

from client import JSON_PATCH, STRATEGIC, equal, eventually, meta, refused
from registry import behaviour, unique

IMAGE = "registry.k8s.io/pause:3.10"


def limit_range(name, labels=None):
    limits = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi", "ephemeral-storage": "100Gi"},
        "max": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "default": {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "500Gi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi", "ephemeral-storage": "200Gi"},
        "maxLimitRequestRatio": {},
    }
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": meta(name, labels), "spec": {"limits": [limits]}}


def asks(requests=None, limits=None):
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


@behaviour("[sig-scheduling] LimitRange should create a LimitRange with defaults and ensure pod has those defaults applied.")
def defaults(world):
    namespace = world.namespace("limitrange")
    ranges, pods = world.resource("v1", "limitranges", namespace), world.resource("v1", "pods", namespace)
    watch = ranges.watch()
    ranges.create(limit_range("limit-range"))
    equal(watch.next()["type"], "ADDED")
    watch.close()

    def pod(name, requests=None, limits=None):
        container = {"name": "pause", "image": IMAGE, "resources": asks(requests, limits)}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": {"containers": [container]}}
        return pods.create(body)["spec"]["containers"][0]["resources"]

    limit = limit_range("")["spec"]["limits"][0]
    equal(pod("no-resources"), {"requests": limit["defaultRequest"], "limits": limit["default"]})
    partial = pod("partial", {"cpu": "150m", "memory": "150Mi"}, {"cpu": "300m"})
    equal(partial["requests"], {"cpu": "150m", "memory": "150Mi", "ephemeral-storage": "200Gi"})
    equal(partial["limits"], {"cpu": "300m", "memory": "500Mi", "ephemeral-storage": "500Gi"})
    refused(403, lambda: pod("too-small", {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"}), "minimum")
    refused(422, lambda: pod("too-large", {"cpu": "600m", "memory": "600Mi", "ephemeral-storage": "600Gi"}))

    smaller = {"cpu": "9m", "memory": "49Mi", "ephemeral-storage": "49Gi"}
    ranges.change("limit-range", lambda body: body["spec"]["limits"][0].update(min=smaller))
    pod("now-fits", {"cpu": "10m", "memory": "50Mi", "ephemeral-storage": "50Gi"})
    refused(422, lambda: pod("too-large", {"cpu": "600m", "memory": "600Mi", "ephemeral-storage": "600Gi"}))
    ranges.delete("limit-range")
    eventually("it is gone", lambda: not ranges.list()["items"])
    pod("fits-without-it", {"cpu": "600m", "memory": "600Mi"})


@behaviour("[sig-scheduling] LimitRange should list, patch and delete a LimitRange by collection")
def collection(world):
    label = unique("range")
    first, second = (world.resource("v1", "limitranges", world.namespace("limitrange")) for _ in range(2))
    for resource in (first, second):
        resource.create(limit_range("e2e-limitrange", {"e2e": label}))
    everywhere, selector = world.resource("v1", "limitranges"), {"labelSelector": f"e2e={label}"}
    equal(len(everywhere.list(**selector)["items"]), 2)
    smaller = {"limits": [{"type": "Container", "min": {"cpu": "40m"}}]}
    patched = first.patch("e2e-limitrange", {"metadata": {"labels": {"patched": label}}, "spec": smaller}, kind=STRATEGIC)
    equal((patched["metadata"]["labels"]["patched"], patched["spec"]["limits"][0]["min"]["cpu"]), (label, "40m"))
    first.delete_collection(labelSelector=f"patched={label}")
    eventually("one is left", lambda: len(everywhere.list(**selector)["items"]) == 1)


@behaviour(
    "[sig-scheduling] SchedulerPreemption [Serial] PriorityClass endpoints verify PriorityClass endpoints can be operated with different HTTP methods"
)
def priority_classes(world):
    resource = world.resource("scheduling.k8s.io/v1", "priorityclasses")
    names = [unique("p1"), unique("p2")]
    for value, name in enumerate(names, 1):
        body = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta(name)}
        resource.create({**body, "value": value, "preemptionPolicy": "PreemptLowerPriority"})
        world.after(lambda name=name: resource.delete(name))
    listed = {item["metadata"]["name"]: item for item in resource.list()["items"]}
    equal([listed[name]["value"] for name in names], [1, 2])
    for name in names:
        for change, said in (({"value": 4}, "may not be changed"), ({"preemptionPolicy": "Never"}, "field is immutable")):
            refused(422, lambda: resource.patch(name, change), said)
            refused(422, lambda: resource.change(name, lambda body: body.update(change)), said)
        operation = [{"op": "replace", "path": "/value", "value": 5}]
        refused(422, lambda: resource.patch(name, operation, kind=JSON_PATCH))
        equal(resource.patch(name, {"description": "updated description"})["description"], "updated description")
        equal(resource.change(name, lambda body: body.update(description="again"))["description"], "again")
