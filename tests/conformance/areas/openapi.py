"""Custom kinds in the published specification, and kubectl's use of it."""

import json

from client import equal, eventually
from kinds import DEFINITIONS, custom_kind, instance
from kubectl import kubectl
from registry import behaviour, unique

TITLE = "[sig-api-machinery] CustomResourcePublishOpenAPI [Privileged:ClusterAdmin] "
SCHEMA = {
    "description": "Foo CRD for Testing",
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "description": "Specification of Foo",
            "properties": {
                "bars": {
                    "description": "List of Bars and their specs.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"description": "Name of Bar.", "type": "string"},
                            "age": {"description": "Age of Bar.", "type": "string"},
                            "feeling": {"description": "Whether Bar is feeling great.", "type": "string", "enum": ["Great", "Down"]},
                            "bazs": {"description": "List of Bazs.", "items": {"type": "string"}, "type": "array"},
                        },
                    },
                }
            },
        },
        "status": {
            "description": "Status of Foo",
            "type": "object",
            "properties": {"bars": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}},
        },
    },
}
AT_ROOT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
NESTED = {
    "type": "object",
    "description": "preserve-unknown-properties in nested field for Testing",
    "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": "Specification of Waldo"},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": "Status of Waldo"},
    },
}


def definition_name(crd, version):
    spec = crd["spec"]
    return ".".join([*reversed(spec["group"].split(".")), version, spec["names"]["kind"]])


def published(world, crd, version):
    """The schema of a version in both specifications, or nothing."""
    name = definition_name(crd, version)
    old = world.api.call("GET", "/openapi/v2")["definitions"].get(name)
    paths = world.api.call("GET", "/openapi/v3")["paths"]
    place = paths.get(f"apis/{crd['spec']['group']}/{version}")
    new = place and world.api.call("GET", place["serverRelativeURL"]).get("components", {}).get("schemas", {}).get(name)
    return (old, new) if old and new else None


def as_defined(world, crd, version, wanted):
    """What stands in version 2 is the schema itself, save what every object has."""
    found, _ = wait_published(world, crd, version)
    found = {key: value for key, value in found.items() if key != "x-kubernetes-group-version-kind"}
    found["properties"] = {key: value for key, value in found.get("properties", {}).items() if key not in ("apiVersion", "kind", "metadata")}
    equal({key: value for key, value in found.items() if value != {}}, wanted)


def wait_published(world, crd, version):
    return eventually(f"{crd['metadata']['name']} {version} is published", lambda: published(world, crd, version))


def wait_withdrawn(world, crd, version):
    eventually(f"{version} is withdrawn", lambda: not published(world, crd, version))


def accepts_unknown(world, crd):
    """kubectl creates and applies objects with any field, and explains the kind."""
    namespace = world.namespace("crd-publish-openapi")
    for body in (instance(crd, "test-cr", spec={"a": {"b": 1}, "c": ["d"]}), instance(crd, "test-cr", a={"b": "c"}, dummy=[1])):
        text = json.dumps(body)
        for verb in ("create", "apply"):
            kubectl(world, "-n", namespace, verb, "-f", "-", input=text)
            kubectl(world, "-n", namespace, "delete", crd["spec"]["names"]["plural"], "test-cr")
    return kubectl(world, "explain", crd["spec"]["names"]["plural"])


@behaviour(TITLE + "works for CRD with validation schema")
def with_schema(world):
    crd = custom_kind(world, versions={"v1": SCHEMA})
    as_defined(world, crd, "v1", SCHEMA)
    namespace, plural = world.namespace("crd-publish-openapi"), crd["spec"]["names"]["plural"]
    good = json.dumps(instance(crd, "test-foo", spec={"bars": [{"name": "test-bar", "feeling": "Great"}]}))
    better = json.dumps(instance(crd, "test-foo", spec={"bars": [{"name": "test-bar", "bazs": ["test-baz"]}]}))
    kubectl(world, "-n", namespace, "create", "-f", "-", input=good)
    kubectl(world, "-n", namespace, "delete", plural, "test-foo")
    kubectl(world, "-n", namespace, "apply", "-f", "-", input=good)
    kubectl(world, "-n", namespace, "apply", "-f", "-", input=better)
    kubectl(world, "-n", namespace, "delete", plural, "test-foo")

    unknown = json.dumps(instance(crd, "unknown-foo", spec={"unknown": "no", "bars": [{"name": "x"}]}))
    missing = json.dumps(instance(crd, "missing-foo", spec={"bars": [{"age": "10"}]}))
    value = json.dumps(instance(crd, "value-foo", spec={"bars": [{"name": "x", "feeling": "NonExistentValue"}]}))
    for verb in ("create", "apply"):
        for body, said in ((unknown, 'unknown field "spec.unknown"'), (missing, "spec.bars[0].name: Required"), (value, "supported values")):
            failed = kubectl(world, "-n", namespace, verb, "-f", "-", input=body, fails=True)
            assert said.lower() in failed.lower(), failed

    said = " ".join(kubectl(world, "explain", plural).split())
    assert "DESCRIPTION: Foo CRD for Testing FIELDS:" in said and "APIVersion" in said and "Specification of Foo" in said, said
    assert "Standard object's metadata" in said or "metadata <ObjectMeta>" in said, said
    metadata = kubectl(world, "explain", f"{plural}.metadata")
    assert "DESCRIPTION:" in metadata and "creationTimestamp\t<string>" in metadata.replace("  ", "\t"), metadata
    assert "Specification of Foo" in kubectl(world, "explain", f"{plural}.spec")
    bars = kubectl(world, "explain", f"{plural}.spec.bars")
    assert "<[]Object>" in bars and "-required-" in bars and "List of Bars and their specs" in bars, bars
    assert "does not exist" in kubectl(world, "explain", f"{plural}.spec.bars2", fails=True)


@behaviour(TITLE + "works for CRD without validation schema")
def without_schema(world):
    crd = custom_kind(world, versions={"v1": AT_ROOT})
    as_defined(world, crd, "v1", {"type": "object"})
    said = accepts_unknown(world, crd)
    assert f"KIND:       {crd['spec']['names']['kind']}" in said and "DESCRIPTION:\n    <empty>" in said, said


@behaviour(TITLE + "works for CRD preserving unknown fields at the schema root")
def unknown_at_root(world):
    crd = custom_kind(world, versions={"v1": AT_ROOT})
    wait_published(world, crd, "v1")
    assert f"KIND:       {crd['spec']['names']['kind']}" in accepts_unknown(world, crd)


@behaviour(TITLE + "works for CRD preserving unknown fields in an embedded object")
def unknown_within(world):
    crd = custom_kind(world, versions={"v1": NESTED})
    old, _ = wait_published(world, crd, "v1")
    equal(old["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"], True)
    namespace, plural = world.namespace("crd-publish-openapi"), crd["spec"]["names"]["plural"]
    body = json.dumps(instance(crd, "test-cr", spec={"a": None, "b": [{"c": "d"}]}))
    for verb in ("create", "apply"):
        kubectl(world, "-n", namespace, verb, "-f", "-", input=body)
        kubectl(world, "-n", namespace, "delete", plural, "test-cr")
    said = " ".join(kubectl(world, "explain", plural).split())
    assert "DESCRIPTION: preserve-unknown-properties in nested field for Testing FIELDS:" in said, said
    assert "Specification of Waldo" in said, said


@behaviour(TITLE + "works for multiple CRDs of different groups")
def different_groups(world):
    for crd in [custom_kind(world, versions={"v1": SCHEMA}) for _ in range(2)]:
        wait_published(world, crd, "v1")


@behaviour(TITLE + "works for multiple CRDs of same group but different versions")
def different_versions(world):
    crd = custom_kind(world, versions={"v2": SCHEMA, "v3": SCHEMA})
    wait_published(world, crd, "v2"), wait_published(world, crd, "v3")
    group = f"{unique('group')}.example.com"
    for version in ("v4", "v5"):
        wait_published(world, custom_kind(world, versions={version: SCHEMA}, group=group), version)


@behaviour(TITLE + "works for multiple CRDs of same group and version but different kinds")
def different_kinds(world):
    group = f"{unique('group')}.example.com"
    crds = [custom_kind(world, versions={"v6": SCHEMA}, group=group) for _ in range(2)]
    for crd in crds:
        wait_published(world, crd, "v6")


@behaviour(TITLE + "updates the published spec when one version gets renamed")
def renamed(world):
    crd = custom_kind(world, versions={"v2": SCHEMA, "v3": SCHEMA})
    wait_published(world, crd, "v3")
    change = [{"op": "test", "path": "/spec/versions/1/name", "value": "v3"}, {"op": "replace", "path": "/spec/versions/1/name", "value": "v4"}]
    definitions = world.resource(DEFINITIONS, "customresourcedefinitions")
    definitions.patch(crd["metadata"]["name"], change, kind="application/json-patch+json")
    wait_published(world, crd, "v4")
    wait_withdrawn(world, crd, "v3")
    wait_published(world, crd, "v2")


@behaviour(TITLE + "removes definition from spec when one version gets changed to not be served")
def no_longer_served(world):
    crd = custom_kind(world, versions={"v5": SCHEMA, "v6alpha1": SCHEMA})
    wait_published(world, crd, "v5"), wait_published(world, crd, "v6alpha1")
    definitions = world.resource(DEFINITIONS, "customresourcedefinitions")
    definitions.change(crd["metadata"]["name"], lambda body: body["spec"]["versions"][1].update(served=False))
    wait_withdrawn(world, crd, "v6alpha1")
    wait_published(world, crd, "v5")
