"""Custom resource definitions for the behaviours about them."""

import copy

from client import eventually, refused  # noqa: F401
from registry import unique

DEFINITIONS = "apiextensions.k8s.io/v1"
ALLOW_ALL = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition(versions, scope="Namespaced", group=None, kind=None, subresources=None, labels=None):
    """A definition whose versions map to schemas; the first is stored."""
    group = group or f"{unique('group')}.example.com"
    kind = kind or unique("E2e").replace("-", "")
    plural = f"{kind.lower()}s"
    served = [
        {
            "name": name,
            "served": True,
            "storage": number == 0,
            "schema": {"openAPIV3Schema": copy.deepcopy(schema)},
            **({"subresources": subresources} if subresources else {}),
        }
        for number, (name, schema) in enumerate(versions.items())
    ]
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": DEFINITIONS,
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": labels or {}},
        "spec": {"group": group, "scope": scope, "names": names, "versions": served},
    }


def custom_kind(world, **options):
    """A definition that is established and whose resources answer."""
    definitions = world.resource(DEFINITIONS, "customresourcedefinitions")
    body = definition(**options)
    name = body["metadata"]["name"]
    definitions.create(body)
    world.after(lambda: definitions.delete(name))

    def established():
        found = definitions.get(name)
        conditions = {condition["type"]: condition["status"] for condition in found.get("status", {}).get("conditions", [])}
        return conditions.get("Established") == "True" and found

    found = eventually(f"{name} is established", established)
    eventually(f"{name} is served", lambda: "items" in of(world, found).list())
    return found


def of(world, crd, namespace=None, version=None):
    spec = crd["spec"]
    return world.resource(f"{spec['group']}/{version or spec['versions'][0]['name']}", spec["names"]["plural"], namespace)


def instance(crd, name, version=None, **fields):
    spec = crd["spec"]
    group_version = f"{spec['group']}/{version or spec['versions'][0]['name']}"
    return {"apiVersion": group_version, "kind": spec["names"]["kind"], "metadata": {"name": name}, **fields}
