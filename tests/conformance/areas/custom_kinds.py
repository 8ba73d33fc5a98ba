"""Custom resource definitions as objects, and watches of what they define."""

from client import JSON_PATCH, equal, eventually
from kinds import ALLOW_ALL, DEFINITIONS, custom_kind, instance, of
from registry import behaviour, unique

SIMPLE = "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition "


@behaviour(SIMPLE + "creating/deleting custom resource definition objects works")
def created_and_deleted(world):
    crd = custom_kind(world, versions={"v1beta1": ALLOW_ALL})
    definitions = world.resource(DEFINITIONS, "customresourcedefinitions")
    definitions.delete(crd["metadata"]["name"])
    eventually("the definition is gone", lambda: not definitions.exists(crd["metadata"]["name"]))


@behaviour(SIMPLE + "listing custom resource definition objects works")
def listed(world):
    definitions, label = world.resource(DEFINITIONS, "customresourcedefinitions"), unique("list")
    other = custom_kind(world, versions={"v1": ALLOW_ALL})["metadata"]["name"]
    for _ in range(10):
        custom_kind(world, versions={"v1": ALLOW_ALL}, labels={"conformance": label})
    selector = {"labelSelector": f"conformance={label}"}
    equal(len(definitions.list(**selector)["items"]), 10)
    definitions.delete_collection(**selector)
    eventually("they are gone", lambda: not definitions.list(**selector)["items"])
    assert definitions.exists(other)


@behaviour(SIMPLE + "getting/updating/patching custom resource definition status sub-resource works")
def status(world):
    crd = custom_kind(world, versions={"v1": ALLOW_ALL})
    definitions, name = world.resource(DEFINITIONS, "customresourcedefinitions"), crd["metadata"]["name"]
    equal(definitions.get(name, "status")["kind"], "CustomResourceDefinition")

    def add(body):
        body["status"].setdefault("conditions", []).append({"type": "", "status": "", "lastTransitionTime": None, "message": "updated"})

    # Kubernetes' own test writes conditions that have nothing but a message.
    updated = definitions.change(name, add, "status")
    assert "updated" in [condition["message"] for condition in updated["status"]["conditions"]]
    change = [{"op": "add", "path": "/status/conditions", "value": [{"message": "patched"}]}]
    patched = definitions.patch(name, change, "status", kind=JSON_PATCH)
    equal([condition["message"] for condition in patched["status"]["conditions"]], ["patched"])


@behaviour(
    "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] "
    "custom resource defaulting for requests and from storage works"
)
def defaults(world):
    crd = custom_kind(world, versions={"v1": ALLOW_ALL}, scope="Cluster")
    definitions, resource, name = world.resource(DEFINITIONS, "customresourcedefinitions"), of(world, crd), crd["metadata"]["name"]
    resource.create(instance(crd, "first"))

    def default(fields):
        properties = {field: {"type": "string", **more} for field, more in fields.items()}
        change = [{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties", "value": properties}]
        definitions.patch(name, change, kind=JSON_PATCH)

    default({"a": {"default": "A"}, "b": {}})
    eventually("the stored object is defaulted", lambda: resource.get("first").get("a") == "A")
    second = resource.create(instance(crd, "second"))
    equal((second.get("a"), second.get("b")), ("A", None))
    default({"a": {}, "b": {"default": "B"}})
    eventually("the other field is defaulted", lambda: resource.get("second").get("b") == "B")
    equal(resource.get("second").get("a"), "A")
    assert "a" not in resource.get("first")


@behaviour(
    "[sig-api-machinery] CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch "
    "watch on custom resource definition objects"
)
def watched(world):
    crd = custom_kind(world, versions={"v1": ALLOW_ALL}, scope="Cluster")
    resource = of(world, crd)
    first, second = (resource.watch(fieldSelector=f"metadata.name={name}") for name in ("name1", "name2"))
    for name, watch in (("name1", first), ("name2", second)):
        resource.create(instance(crd, name, content={"key": "value"}, num={"num1": 2**53 + 1, "num2": 1000000}))
        event = watch.next()
        equal((event["type"], event["object"]["num"]["num1"]), ("ADDED", 2**53 + 1))
    for name, watch in (("name1", first), ("name2", second)):
        resource.patch(name, {"dummy": "test"})
        equal(watch.next()["type"], "MODIFIED")
    for name, watch in (("name1", first), ("name2", second)):
        resource.delete(name)
        equal(watch.next()["type"], "DELETED")
    first.close(), second.close()
