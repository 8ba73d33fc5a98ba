"""Fields that nobody knows, and fields that come twice. What does not fit an applied object's schema is answered with 500, as Kubernetes does."""

from client import APPLY, refused
from kinds import ALLOW_ALL, custom_kind, of
from registry import behaviour

TITLE = "[sig-api-machinery] FieldValidation should "
STRICT = {"fieldManager": "field_validation_mgr", "fieldValidation": "Strict"}
PORT = {
    "type": "object",
    "required": ["containerPort", "protocol"],
    "properties": {
        "containerPort": {"format": "int32", "type": "integer"},
        "hostIP": {"type": "string"},
        "hostPort": {"format": "int32", "type": "integer"},
        "name": {"type": "string"},
        "protocol": {"type": "string"},
    },
}
FIELDS = {
    "foo": {"type": "string"},
    "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
    "ports": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "items": PORT,
    },
}
DEPLOYMENT = """{
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "my-dep", "labels": {"app": "nginx"}%s},
    "spec": {%s"selector": {"matchLabels": {"app": "nginx"}},
        "template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]}}}
}"""
SPEC = """
  cronSpec: "* * * * */5"
  ports:
  - name: x
    containerPort: 80
    protocol: TCP"""


def schema(**more):
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": FIELDS, **more}}}


def apply(world, crd, rest, metadata=""):
    names = crd["spec"]["names"]
    head = f"\napiVersion: {crd['spec']['group']}/v1beta1\nkind: {names['kind']}\nmetadata:\n  name: mytest{metadata}\n"
    body = f"{head}  finalizers:\n  - test-finalizer\n{rest}"
    resource = of(world, crd)
    world.after(lambda: resource.patch("mytest", {"metadata": {"finalizers": None}}))
    return resource.patch("mytest", body, kind=APPLY, **STRICT)


def kind(world, wanted):
    return custom_kind(world, versions={"v1beta1": wanted, "v1beta2": wanted}, scope="Cluster")


@behaviour(TITLE + "detect unknown and duplicate fields of a typed object")
def typed(world):
    deployments = world.resource("apps/v1", "deployments", world.namespace("field-validation"))
    body = DEPLOYMENT % ("", '"unknownField": "foo", "replicas": 2, "replicas": 3, ')
    said = 'strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"'
    refused(400, lambda: deployments.create(body, **STRICT), said)


@behaviour(TITLE + "detect unknown metadata fields of a typed object")
def typed_metadata(world):
    deployments = world.resource("apps/v1", "deployments", world.namespace("field-validation"))
    body = DEPLOYMENT % (', "unknownMeta": "foo"', "")
    refused(400, lambda: deployments.create(body, **STRICT), 'strict decoding error: unknown field "metadata.unknownMeta"')


@behaviour(TITLE + "create/apply a valid CR for CRD with validation schema")
def valid(world):
    apply(world, kind(world, schema()), f"spec:\n  foo: foo1{SPEC}")


@behaviour(TITLE + "create/apply a CR with unknown fields for CRD with no validation schema")
def unknown_without_schema(world):
    apply(world, kind(world, ALLOW_ALL), f"spec:\n  unknown: uk1{SPEC}")


@behaviour(TITLE + "create/apply an invalid CR with extra properties for CRD with validation schema")
def unknown_with_schema(world):
    crd = kind(world, schema())
    body = f"unknownField: unknown\nspec:\n  foo: foo1{SPEC}"
    refused(500, lambda: apply(world, crd, body), ".unknownField: field not declared in schema")


@behaviour(TITLE + "detect unknown metadata fields in both the root and embedded object of a CR")
def unknown_metadata(world):
    within = {"type": "object", "x-kubernetes-embedded-resource": True}
    within["properties"] = {"metadata": {"type": "object", "properties": {"name": {"type": "string"}}}, "spec": {"type": "object"}}
    wanted = schema(**{"x-kubernetes-preserve-unknown-fields": True})
    wanted["properties"]["spec"]["properties"] = {**FIELDS, "template": within}
    crd = kind(world, wanted)
    template = "template:\n    apiversion: foo/v1\n    kind: Sub\n    metadata:\n        unknownSubMeta: unknown\n        name: subobject\n        namespace: default"
    body = f"spec:\n  {template}\n  foo: foo1{SPEC}"
    said = ".spec.template.metadata.unknownSubMeta: field not declared in schema"
    refused(500, lambda: apply(world, crd, body, "\n  unknownMeta: unknown"), said)


@behaviour(TITLE + "detect duplicates in a CR when preserving unknown fields")
def duplicates(world):
    crd = kind(world, schema(**{"x-kubernetes-preserve-unknown-fields": True}))
    refused(400, lambda: apply(world, crd, f"spec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2{SPEC}"), 'line 11: key "foo" already set in map')
