"""What Kubernetes asks of every kind: it is discovered, and every verb works on it."""

import copy

from client import APPLY, MERGE, PROTOBUF, STRATEGIC, Refused, equal, eventually
from registry import unique

MAGIC = b"k8s\x00"


def discovered(world, group_version, *resources):
    """The group in /apis, the version in the group, the resources in the version."""
    group, _, version = group_version.rpartition("/")
    if group:
        groups = {found["name"]: found for found in world.api.call("GET", "/apis")["groups"]}
        assert version in [found["version"] for found in groups[group]["versions"]], groups[group]
        own = world.api.call("GET", f"/apis/{group}")
        assert version in [found["version"] for found in own["versions"]], own
    path = f"/apis/{group_version}" if group else "/api/v1"
    names = [found["name"] for found in world.api.call("GET", path)["resources"]]
    for resource in resources:
        assert resource in names, f"{resource} is not among {names}"


def lifecycle(world, group_version, plural, template, namespace=None, patch=None, update=None, generate=True):
    """Create, get, list, watch, patch, update, delete and deletecollection, as every `API operations` behaviour has them."""
    discovered(world, group_version, plural)
    resource, everywhere = world.resource(group_version, plural, namespace), world.resource(group_version, plural)
    label = unique("label")
    selector = {"labelSelector": f"conformance={label}"}
    world.after(lambda: resource.delete_collection(**selector))

    def fresh():
        body = copy.deepcopy(template() if callable(template) else template)
        found = body.setdefault("metadata", {})
        found.setdefault("labels", {})["conformance"] = label
        if generate:
            found["generateName"] = found.pop("name", "conformance-").rstrip("-") + "-"
        return body

    resource.create(fresh())
    resource.create(fresh())
    made = resource.create(fresh())
    name = made["metadata"]["name"]
    equal(resource.get(name)["metadata"]["uid"], made["metadata"]["uid"])
    listed = resource.list(**selector)
    equal(len(listed["items"]), 3)
    equal(len(everywhere.list(**selector)["items"]), 3)
    watch = everywhere.watch(resourceVersion=listed["metadata"]["resourceVersion"], **selector)

    patched = resource.patch(name, {"metadata": {"annotations": {"patched": "true"}}, **(patch or {})})
    equal(patched["metadata"]["annotations"]["patched"], "true")

    def mark(body):
        body["metadata"].setdefault("annotations", {})["updated"] = "true"
        if update:
            update(body)

    equal(resource.change(name, mark)["metadata"]["annotations"]["updated"], "true")
    event = watch.until(lambda event: event["object"]["metadata"].get("annotations", {}).get("updated") == "true")
    equal(event["type"], "MODIFIED")
    labelled = resource.patch(name, {"metadata": {"labels": {"strategic": "yes"}}}, kind=STRATEGIC)
    equal(labelled["metadata"]["labels"]["strategic"], "yes")
    watch.until(lambda event: event["object"]["metadata"]["labels"].get("strategic") == "yes")
    speaks_protobuf(world, resource, name)

    resource.delete(name)
    eventually(f"{plural} {name} is gone", lambda: not resource.exists(name))
    watch.until(lambda event: event["type"] == "DELETED")
    watch.close()
    equal(len(resource.list(**selector)["items"]), 2)
    resource.delete_collection(**selector)
    eventually("the collection is gone", lambda: not resource.list(**selector)["items"])


def speaks_protobuf(world, resource, name):
    """client-go's typed clients speak it by default: what is read so can be written so."""
    api, path = world.api, resource.of(name)
    for _ in range(5):  # a controller may write in between
        read = api.raw("GET", path, accept=PROTOBUF)
        equal((read.status, read.headers["Content-Type"], read.data[:4]), (200, PROTOBUF, MAGIC))
        written = api.raw("PUT", path, read.data, accept=PROTOBUF, content=PROTOBUF)
        if written.status != 409:
            break
    equal((written.status, written.headers["Content-Type"], written.data[:4]), (200, PROTOBUF, MAGIC))
    listed = api.raw("GET", resource.path, accept=PROTOBUF)
    equal((listed.status, listed.data[:4]), (200, MAGIC))


def status_lifecycle(world, group_version, plural, body, patch, changed, namespace=None, kind=MERGE, annotated=True):
    """The status subresource is read, patched (with annotations, which the kinds that are not `annotated` leave alone) and updated."""
    discovered(world, group_version, f"{plural}/status")
    resource = world.resource(group_version, plural, namespace)
    name = resource.create(body)["metadata"]["name"]
    world.after(lambda: resource.delete(name))
    before = resource.get(name)
    equal(resource.get(name, "status")["metadata"]["uid"], before["metadata"]["uid"])
    patched = resource.patch(name, {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": patch}, "status", kind=kind)
    equal(patched["metadata"].get("annotations", {}).get("patchedstatus"), "true" if annotated else None)
    assert changed(patched.get("status", {})), patched

    def mark(found):
        found["metadata"].setdefault("annotations", {})["updatedstatus"] = "true"

    updated = resource.change(name, mark, "status")
    equal(updated["metadata"].get("annotations", {}).get("updatedstatus"), "true" if annotated else None)
    equal(updated.get("spec"), before.get("spec"))
    return resource.get(name)


def crud(world, group_version, plural, body, change, patches, status=None, status_patches=(), namespace=None):
    """Every endpoint of a kind through each kind of patch, as Kubernetes tests the kinds of `resource.k8s.io`."""
    discovered(world, group_version, plural)
    resource, everywhere = world.resource(group_version, plural, namespace), world.resource(group_version, plural)
    selector = {"labelSelector": f"crud={unique('crud')}"}
    body["metadata"] = {"name": unique("crud"), "labels": dict([selector["labelSelector"].split("=")])}
    name = body["metadata"]["name"]

    def recreate():
        if resource.exists(name):
            resource.delete(name)
            eventually("it is gone", lambda: not resource.exists(name))
        return resource.create(body, fieldValidation="Strict")

    world.after(lambda: resource.delete(name))
    watch = everywhere.watch(**selector)
    made = recreate()
    equal(watch.next()["type"], "ADDED")
    change(updated := resource.get(name))
    updated = resource.update(updated)
    assert int(updated["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    equal(watch.next()["type"], "MODIFIED")
    if status:
        status(updated)
        resource.update(updated, "status")
        resource.get(name, "status")
        equal(watch.next()["type"], "MODIFIED")
    for kind, patch in patches:
        patch_existing(resource, recreate(), kind, patch)
    for kind, patch in status_patches:
        recreate()
        existing = resource.change(name, change)
        patched = patch_existing(resource, existing, kind, patch, "status")
        assert patched.get("status"), f"{kind} changed nothing: {patched}"
    equal(len(resource.list(**selector)["items"]), 1)
    equal(len(everywhere.list(**selector)["items"]), 1)
    speaks_protobuf(world, resource, name)
    resource.delete_collection(**selector)
    eventually("it is gone", lambda: not resource.exists(name))
    watch.until(lambda event: event["type"] == "DELETED")
    watch.close()


def patch_existing(resource, existing, kind, patch, *sub):
    found, options = existing["metadata"], {"fieldValidation": "Strict"}
    if isinstance(patch, dict):
        patch = {**copy.deepcopy(patch), "apiVersion": existing["apiVersion"], "kind": existing["kind"]}
        own = {key: found[key] for key in ("name", "namespace", "uid") if key in found}
        patch["metadata"] = {**patch.get("metadata", {}), **own}
    if kind == APPLY:
        options.update(fieldManager="conformance-apply", force="true")
    try:
        return resource.patch(found["name"], patch, *sub, kind=kind, **options)
    except Refused as refusal:
        raise AssertionError(f"{kind}: {refusal}") from refusal
