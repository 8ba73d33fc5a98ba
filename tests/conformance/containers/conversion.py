"""Custom resources that a webhook converts between versions, and their fields in selectors."""

from client import equal, eventually
from kinds import DEFINITIONS, definition, instance, of
from registry import behaviour
from webhooks import PORT, SERVICE, Webhooks

CONVERSION = "[sig-api-machinery] CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert "
TEXT = {"type": "string"}
V1 = {"type": "object", "properties": {"hostPort": TEXT}}
V2 = {"type": "object", "properties": {"host": TEXT, "port": TEXT}}


def converted_kind(hooks, selectable=None):
    """Established, and converted in fact."""
    definitions = hooks.world.resource(DEFINITIONS, "customresourcedefinitions")
    body = definition({"v1": V1, "v2": V2})
    for version in body["spec"]["versions"]:
        if selectable:
            version["selectableFields"] = [{"jsonPath": path} for path in selectable[version["name"]]]
    service = {"namespace": hooks.namespace, "name": SERVICE, "path": "/crdconvert", "port": PORT}
    client = {"clientConfig": {"service": service, "caBundle": hooks.authority.bundle}, "conversionReviewVersions": ["v1", "v1beta1"]}
    body["spec"] |= {"conversion": {"strategy": "Webhook", "webhook": client}, "preserveUnknownFields": False}
    made = definitions.create(body)
    name = made["metadata"]["name"]

    def gone():
        """While the webhook is there still: what is stored in another version cannot be listed without."""
        definitions.delete(name)
        eventually("the definition is gone", lambda: not definitions.exists(name), 30)

    hooks.world.after(gone)
    resource = of(hooks.world, made, hooks.namespace)
    eventually("the kind is served", lambda: "items" in resource.list())
    resource.create(instance(made, "probe", hostPort="probe:1"))
    eventually("it is converted", lambda: of(hooks.world, made, hooks.namespace, "v2").get("probe").get("host") == "probe", 30)
    resource.delete("probe")
    return made


def is_v2(found, host, port):
    equal((found["apiVersion"].rsplit("/", 1)[1], found.get("host"), found.get("port")), ("v2", host, port))
    assert "hostPort" not in found, found


@behaviour(CONVERSION + "from CR v1 to CR v2")
def read_at_another(world):
    hooks = Webhooks(world, "crd-webhook")
    crd = converted_kind(hooks)
    uid = of(world, crd, hooks.namespace).create(instance(crd, "cr", hostPort="local:80"))["metadata"]["uid"]
    found = of(world, crd, hooks.namespace, "v2").get("cr")
    is_v2(found, "local", "80")
    equal(found["metadata"]["uid"], uid)


@behaviour(CONVERSION + "a non homogeneous list of CRs")
def mixed(world):
    hooks = Webhooks(world, "crd-webhook")
    crd = converted_kind(hooks)
    one, two = (of(world, crd, hooks.namespace, version) for version in ("v1", "v2"))
    one.create(instance(crd, "cr-v1", hostPort="local:80"))
    definitions = world.resource(DEFINITIONS, "customresourcedefinitions")

    def swap(found):
        for version in found["spec"]["versions"]:
            version["storage"] = version["name"] == "v2"

    definitions.change(crd["metadata"]["name"], swap)
    equal(sorted(definitions.get(crd["metadata"]["name"])["status"]["storedVersions"]), ["v1", "v2"])
    two.create(instance(crd, "cr-v2", "v2", host="local", port="443"))
    for found, port in zip(sorted(two.list()["items"], key=lambda item: item["metadata"]["name"]), ("80", "443"), strict=True):
        is_v2(found, "local", port)
    equal(sorted(found["hostPort"] for found in one.list()["items"]), ["local:443", "local:80"])


@behaviour("[sig-api-machinery] CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector")
def selected(world):
    hooks = Webhooks(world, "crd-selectable-fields")
    crd = converted_kind(hooks, {"v1": [".hostPort"], "v2": [".host", ".port"]})
    one, two = (of(world, crd, hooks.namespace, version) for version in ("v1", "v2"))
    selectors = ((one, "hostPort=host1:80"), (two, "host=host1"), (two, "host=host1,port=80"))
    watches = [resource.watch(fieldSelector=selector, resourceVersion=resource.list()["metadata"]["resourceVersion"]) for resource, selector in selectors]
    for name, host_port in (("cr-1", "host1:80"), ("cr-2", "host1:8080"), ("cr-3", "host2:80")):
        one.create(instance(crd, name, hostPort=host_port))
    wanted = (["cr-1"], ["cr-1", "cr-2"], ["cr-1"])
    for (resource, selector), names in zip(selectors, wanted, strict=True):
        equal((selector, resource.names(fieldSelector=selector)), (selector, names))

    def expect(*told):
        for watch, events in zip(watches, told, strict=True):
            equal([(event["type"], event["object"]["metadata"]["name"]) for event in (watch.next() for _ in events)], events)

    expect(*([("ADDED", name) for name in names] for names in wanted))
    two.patch("cr-2", {"host": "host2"})
    expect([], [("DELETED", "cr-2")], [])
    two.patch("cr-2", {"host": "host1", "port": "80"})
    expect([("ADDED", "cr-2")], [("ADDED", "cr-2")], [("ADDED", "cr-2")])
    one.delete("cr-1")
    expect(*([("DELETED", "cr-1")] for _ in watches))
    for watch, (resource, _) in zip(watches, selectors, strict=True):
        watch.quiet(0.5)
        for event in watch.events:
            equal(event["object"]["apiVersion"], resource.group_version)
        watch.close()
    resource, options = two, {"fieldSelector": "host=host1"}
    resource.delete_collection(**options)
    eventually("those of the selector go", lambda: two.names() == ["cr-3"], 30)
