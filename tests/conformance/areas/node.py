"""Nodes, pods that are only objects, and what pods refer to."""

from client import JSON_PATCH, STRATEGIC, equal, eventually, meta, refused
from lifecycle import crud, lifecycle, speaks_protobuf
from registry import behaviour, unique

IMAGE = "registry.k8s.io/pause:3.10"
RESOURCE = "resource.k8s.io/v1"
DRA = "[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 "
GENERATION = "[sig-node] Pods Extended (pod generation) Pod Generation "


def pod(name, **spec):
    containers = [{"name": "c", "image": IMAGE, **spec.pop("container", {})}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": {"containers": containers, **spec}}


def data(kind, name, labels=None, **fields):
    return {"apiVersion": "v1", "kind": kind, "metadata": meta(name, labels), **fields}


@behaviour("[sig-architecture] Conformance Tests should have at least two untainted nodes")
def two_nodes(world):
    ready = []
    for node in world.resource("v1", "nodes").list()["items"]:
        taints = [taint for taint in node["spec"].get("taints", []) if taint["effect"] in ("NoSchedule", "NoExecute")]
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
        if not taints and not node["spec"].get("unschedulable") and conditions.get("Ready") == "True":
            ready.append(node["metadata"]["name"])
    assert len(ready) >= 2, ready


@behaviour("[sig-node] Node Lifecycle should run through the lifecycle of a node")
def node_lifecycle(world):
    nodes, name, label = world.resource("v1", "nodes"), unique("e2e-fake-node"), unique("fake")
    world.after(lambda: nodes.delete(name))
    body = data("Node", name)
    body["status"] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "message": "Set from e2e test", "reason": "E2E"}],
        "capacity": {"cpu": "2", "memory": "1Gi"},
    }
    nodes.create(body)
    equal(nodes.get(name)["metadata"]["name"], name)
    patched = nodes.patch(name, {"metadata": {"labels": {label: "patched"}}}, kind=STRATEGIC)
    equal(patched["metadata"]["labels"][label], "patched")
    equal(nodes.names(labelSelector=f"{label}=patched"), [name])
    updated = nodes.change(name, lambda found: found["metadata"]["labels"].update({label: "updated"}))
    equal(updated["metadata"]["labels"][label], "updated")
    nodes.delete(name)
    eventually("the node is gone", lambda: not nodes.exists(name))


def pods_in(world):
    return world.resource("v1", "pods", world.namespace("pods"))


@behaviour("[sig-node] Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu")
def guaranteed(world):
    asks = {"cpu": "100m", "memory": "100Mi"}
    pods = pods_in(world)
    pods.create(pod("pod-qos-class", container={"resources": {"limits": asks, "requests": asks}}))
    equal(pods.get("pod-qos-class")["status"]["qosClass"], "Guaranteed")


def runs(pods, name):
    return eventually("the pod runs", lambda: pods.get(name)["status"].get("phase") == "Running" and pods.get(name))


@behaviour(GENERATION + "custom-set generation on new pods and graceful delete")
def generation_on_delete(world):
    pods, body = pods_in(world), pod("pod-generation")
    body["metadata"]["generation"] = 100
    equal(pods.create(body)["metadata"]["generation"], 1)
    runs(pods, "pod-generation")
    equal(world.api.raw("DELETE", pods.of("pod-generation"), gracePeriodSeconds=60).status, 200)
    equal(pods.get("pod-generation")["metadata"]["generation"], 2)
    pods.delete("pod-generation", {"gracePeriodSeconds": 0})


@behaviour(GENERATION + "pod generation should start at 1 and increment per update [MinimumKubeletVersion:1.34]")
def generation_on_update(world):
    pods = pods_in(world)
    equal(pods.create(pod("p", initContainers=[{"name": "init", "image": IMAGE}]))["metadata"]["generation"], 1)
    runs(pods, "p")
    toleration = {"key": "foo", "operator": "Equal", "value": "bar", "effect": "NoSchedule"}
    expected = 1
    for change, bumps in (
        (lambda body: None, False),
        (lambda body: body["spec"]["tolerations"].append(toleration), True),
        (lambda body: body["spec"].update(activeDeadlineSeconds=5000), True),
        (lambda body: body["spec"]["containers"][0].update(image="nginx:1"), True),
        (lambda body: body["spec"]["initContainers"][0].update(image="nginx:2"), True),
        (lambda body: body["metadata"].update(annotations={"key": "value"}), False),
        (lambda body: body["metadata"].update(generation=1), False),
    ):
        pods.change("p", change)
        expected += bumps
        equal(pods.get("p")["metadata"]["generation"], expected)
        eventually("the kubelet observes it", lambda: pods.get("p")["status"].get("observedGeneration") == expected)


@behaviour("[sig-node] ConfigMap should fail to create ConfigMap with empty key")
def empty_key(world):
    maps = world.resource("v1", "configmaps", world.namespace("configmap"))
    refused(422, lambda: maps.create(data("ConfigMap", "emptykey", data={"": "value-1"})), "data[]: Invalid value")


@behaviour("[sig-node] Secrets should fail to create secret due to empty secret key")
def empty_secret_key(world):
    secrets = world.resource("v1", "secrets", world.namespace("secrets"))
    refused(422, lambda: secrets.create(data("Secret", "emptykey", data={"": "dmFsdWUtMQ=="})), "data[]: Invalid value")


@behaviour("[sig-node] ConfigMap should update ConfigMap successfully [NodeConformance]")
def map_updates(world):
    maps = world.resource("v1", "configmaps", world.namespace("configmap"))
    maps.create(data("ConfigMap", "configmap", data={"data": "value"}))
    maps.update(data("ConfigMap", "configmap", data={"data": "value-updated"}))
    equal(maps.get("configmap")["data"], {"data": "value-updated"})


@behaviour("[sig-node] ConfigMap should run through a ConfigMap lifecycle")
def map_lifecycle(world):
    namespace, label = world.namespace("configmap"), unique("map")
    maps = world.resource("v1", "configmaps", namespace)
    selector = {"labelSelector": f"test-configmap-static={label}"}
    watch = maps.watch(**selector)
    maps.create(data("ConfigMap", "test", {"test-configmap-static": label}, data={"valueName": "value"}))
    equal(watch.next()["type"], "ADDED")
    patch = {"metadata": {"labels": {"test-configmap": "patched"}}, "data": {"valueName": "value1"}}
    maps.patch("test", patch, kind=STRATEGIC)
    equal(watch.next()["type"], "MODIFIED")
    found = maps.get("test")
    equal((found["data"]["valueName"], found["metadata"]["labels"]["test-configmap"]), ("value1", "patched"))
    equal([m["data"]["valueName"] for m in world.resource("v1", "configmaps").list(**selector)["items"]], ["value1"])
    maps.delete_collection(**selector)
    equal(watch.next()["type"], "DELETED")
    equal(maps.names(**selector), [])
    watch.close()


@behaviour("[sig-node] Secrets should patch a secret")
def secret_patch(world):
    secrets, label = world.resource("v1", "secrets", world.namespace("secrets")), unique("secret")
    labels = {"testsecret-constant": label}
    secrets.create({**data("Secret", "test-secret", labels, data={"key": "dmFsdWU="}), "type": "Opaque"})
    everywhere, selector = world.resource("v1", "secrets"), {"labelSelector": f"testsecret-constant={label}"}
    equal(everywhere.names(**selector), ["test-secret"])
    secrets.patch("test-secret", {"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "dmFsdWUx"}}, kind=STRATEGIC)
    found = secrets.get("test-secret")
    equal((found["data"]["key"], found["metadata"]["labels"]["testsecret"]), ("dmFsdWUx", "true"))
    secrets.delete_collection(labelSelector="testsecret=true")
    equal(everywhere.names(**selector), [])


@behaviour("[sig-node] Lease lease API should be available")
def leases(world):
    resource, group = world.resource("coordination.k8s.io/v1", "leases", world.namespace("lease")), "coordination.k8s.io/v1"
    # Times of the first year, to which Go's times without a value belong.
    spec = {"holderIdentity": "holder", "leaseDurationSeconds": 30, "acquireTime": "0001-01-01T00:00:02.000000Z"}
    spec.update(renewTime="0001-01-01T00:00:05.000000Z", leaseTransitions=0)
    body = {"apiVersion": group, "kind": "Lease", "metadata": meta("lease"), "spec": spec}
    resource.create(body)
    equal(resource.get("lease")["spec"], spec)
    spec = {**spec, "holderIdentity": "holder2", "leaseTransitions": 1}
    resource.change("lease", lambda found: found.update(spec=spec))
    equal(resource.get("lease")["spec"], spec)
    resource.patch("lease", {"spec": {"holderIdentity": "holder3"}}, kind=STRATEGIC)
    equal(resource.get("lease")["spec"], {**spec, "holderIdentity": "holder3"})
    speaks_protobuf(world, resource, "lease")
    equal(resource.get("lease")["spec"], {**spec, "holderIdentity": "holder3"})
    resource.create({**body, "metadata": meta("lease2", {"deletecollection": "true"})})
    equal(resource.names(), ["lease", "lease2"])
    resource.delete_collection(labelSelector="deletecollection=true")
    equal(resource.names(), ["lease"])
    resource.delete("lease")
    refused(404, lambda: resource.get("lease"))


def template(name, labels):
    body = data("PodTemplate", name, labels)
    return {**body, "template": {"spec": {"containers": [{"name": "nginx", "image": "nginx"}]}}}


@behaviour("[sig-node] PodTemplates should run the lifecycle of PodTemplates")
def template_lifecycle(world):
    resource, label = world.resource("v1", "podtemplates", world.namespace("podtemplate")), unique("template")
    resource.create(template("t", {"podtemplate-static": label}))
    resource.patch("t", {"metadata": {"labels": {"podtemplate": "patched"}}}, kind=STRATEGIC)
    equal(resource.get("t")["metadata"]["labels"]["podtemplate"], "patched")
    selector = {"labelSelector": f"podtemplate-static={label}"}
    equal(world.resource("v1", "podtemplates").names(**selector), ["t"])
    resource.delete("t")
    equal(world.resource("v1", "podtemplates").names(**selector), [])


@behaviour("[sig-node] PodTemplates should delete a collection of pod templates")
def template_collection(world):
    resource, names = world.resource("v1", "podtemplates", world.namespace("podtemplate")), ["t-1", "t-2", "t-3"]
    for name in names:
        resource.create(template(name, {"podtemplate-set": "true"}))
    equal(resource.names(labelSelector="podtemplate-set=true"), names)
    resource.delete_collection(labelSelector="podtemplate-set=true")
    equal(resource.names(labelSelector="podtemplate-set=true"), [])


@behaviour("[sig-node] PodTemplates should replace a pod template")
def template_replaced(world):
    resource = world.resource("v1", "podtemplates", world.namespace("podtemplate"))
    resource.create(template("t", {"e2e": "true"}))
    updated = resource.change("t", lambda body: body["metadata"].update(annotations={"updated": "true"}))
    equal(updated["metadata"]["annotations"]["updated"], "true")


RUNTIME = "[sig-node] RuntimeClass should "


def runtime_class(name):
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": f"handler-{name}"}


@behaviour(RUNTIME + "support RuntimeClasses API operations")
def runtime_classes(world):
    lifecycle(world, "node.k8s.io/v1", "runtimeclasses", runtime_class("e2e"))


@behaviour(RUNTIME + "reject a Pod requesting a non-existent RuntimeClass [NodeConformance]")
def no_such_runtime(world):
    pods = pods_in(world)
    refused(403, lambda: pods.create(pod("p", runtimeClassName="nonexistent")), "nonexistent", "not found")


@behaviour(RUNTIME + "reject a Pod requesting a deleted RuntimeClass [NodeConformance]")
def deleted_runtime(world):
    classes, name, pods = world.resource("node.k8s.io/v1", "runtimeclasses"), unique("deleted"), pods_in(world)
    classes.create(runtime_class(name))
    classes.delete(name)
    eventually("the class is gone", lambda: not classes.exists(name))
    refused(403, lambda: pods.create(pod("p", runtimeClassName=name)), "not found")


def claim():
    return {"devices": {"requests": [{"name": "req-0", "exactly": {"deviceClassName": "dra.example.com"}}]}}


def relabel(body):
    body["metadata"]["labels"]["test.dra.example.com"] = "test"


LABEL = {"metadata": {"labels": {"test.dra.example.com": "test"}}}


@behaviour(DRA + "DeviceClass")
def device_classes(world):
    body = {"apiVersion": RESOURCE, "kind": "DeviceClass", "spec": {"selectors": [{"cel": {"expression": "false"}}]}}
    change = lambda found: found["spec"]["selectors"][0]["cel"].update(expression="1 == 0")  # noqa: E731
    patch = {"spec": {"selectors": [{"cel": {"expression": "1 == 0"}}]}}
    crud(world, RESOURCE, "deviceclasses", body, change, [(STRATEGIC, patch)])


@behaviour(DRA + "ResourceClaim")
def resource_claims(world):
    body, allocation = {"apiVersion": RESOURCE, "kind": "ResourceClaim", "spec": claim()}, {"status": {"allocation": {}}}
    kinds = (STRATEGIC, "application/apply-patch+yaml", "application/merge-patch+json")
    add = [{"op": "add", "path": "/metadata/labels/test.dra.example.com", "value": "test"}]
    add_status = [{"op": "add", "path": "/status/allocation", "value": {}}]
    crud(
        world,
        RESOURCE,
        "resourceclaims",
        body,
        relabel,
        [*((kind, LABEL) for kind in kinds), (JSON_PATCH, add)],
        lambda found: found.setdefault("status", {}).update(allocation={}),
        [*((kind, allocation) for kind in kinds), (JSON_PATCH, add_status)],
        world.namespace("dra"),
    )


@behaviour(DRA + "ResourceClaimTemplate")
def resource_claim_templates(world):
    body = {"apiVersion": RESOURCE, "kind": "ResourceClaimTemplate", "spec": {"spec": claim()}}
    crud(world, RESOURCE, "resourceclaimtemplates", body, relabel, [(STRATEGIC, LABEL)], namespace=world.namespace("dra"))


@behaviour(DRA + "ResourceSlice")
def resource_slices(world):
    pool = {"name": "cluster", "generation": 1, "resourceSliceCount": 1}
    body = {"apiVersion": RESOURCE, "kind": "ResourceSlice", "spec": {"driver": "dra.example.com", "pool": pool, "nodeName": "no-such-node"}}
    change = lambda found: found["spec"].update(devices=[{"name": "device-0"}])  # noqa: E731
    crud(world, RESOURCE, "resourceslices", body, change, [(STRATEGIC, {"spec": {"devices": [{"name": "device-0"}]}})])
