"""ConfigMaps, Secrets and downward fields as files, each as a volume of its own and as a projected one."""

from client import equal, eventually, meta
from pods import Pods
from registry import behaviour

MOUNT = "/etc/files"
#: How each kind of source is written in a volume of its own: the field of its name.
NAMED = {"configMap": "name", "secret": "secretName"}
PLURALS = {"configMap": "configmaps", "secret": "secrets"}
TITLES = {
    ("configMap", False): "[sig-storage] ConfigMap ",
    ("configMap", True): "[sig-storage] Projected configMap ",
    ("secret", False): "[sig-storage] Secrets ",
    ("secret", True): "[sig-storage] Projected secret ",
}


def volume(kind, name, projected, mode=None, volume_name="files", **more):
    """A volume with the files of one object."""
    own = {"defaultMode": mode} if mode is not None else {}
    if projected:
        return {"name": volume_name, "projected": {"sources": [{kind: {"name": name, **more}}], **own}}
    return {"name": volume_name, kind: {NAMED[kind]: name, **own, **more}}


def holder(world, kind, data, name="source", namespace=None):
    """Pods in a namespace with an object of the kind."""
    pods = Pods(world, namespace or world.namespace("files"))
    objects = world.resource("v1", PLURALS[kind], pods.namespace)
    field = "data" if kind == "configMap" else "stringData"
    objects.create({"metadata": meta(name), field: data})
    return pods, objects


def mounted(name="files", path=MOUNT, **more):
    return {"name": name, "mountPath": path, "readOnly": True, **more}


def look(file):
    """The mode of the file itself, and what is in it."""
    return f"stat -L -c %A {file}; cat {file}"


def consumed(kind, projected):
    title = TITLES[kind, projected]
    linux = " [LinuxOnly] [NodeConformance]"

    def case(name, file, command=None, wanted=("-rw-r--r--", "value-1"), user=None, group=None, **options):
        @behaviour(title + name)
        def found(world):
            pods, _ = holder(world, kind, {"data-1": "value-1", "data-2": "value-2"})
            security = {"runAsUser": user, "fsGroup": group}
            container = pods.container(command or look(f"{MOUNT}/{file}"), volumeMounts=[mounted()])
            spec = {"securityContext": {key: value for key, value in security.items() if value is not None}}
            said = pods.says("pod", container, volumes=[volume(kind, "source", projected, **options)], **spec)
            equal(said.split(), list(wanted))

    many = "mappings and Item Mode set" if kind == "secret" else "mappings and Item mode set"
    item = {"key": "data-2", "path": "path/to/data-2"}
    case("should be consumable from pods in volume [NodeConformance]", "data-1")
    case("should be consumable from pods in volume with defaultMode set" + linux, "data-1", mode=0o400, wanted=("-r--------", "value-1"))
    case("should be consumable from pods in volume with mappings [NodeConformance]", "path/to/data-2", items=[item], wanted=("-rw-r--r--", "value-2"))
    case(f"should be consumable from pods in volume with {many}" + linux, "path/to/data-2", items=[{**item, "mode": 0o400}], wanted=("-r--------", "value-2"))
    if kind == "configMap":
        case("should be consumable from pods in volume as non-root [NodeConformance]", "data-1", user=1000)
        case("should be consumable from pods in volume with mappings as non-root [NodeConformance]", "path/to/data-2", user=1000, items=[item], wanted=("-rw-r--r--", "value-2"))
    else:
        name = "should be consumable from pods in volume as non-root with defaultMode and fsGroup set" + linux
        case(name, "data-1", user=1000, group=1001, mode=0o440, wanted=("-r--r-----", "value-1"))
    several = "in the same pod" if kind == "configMap" else "in a pod"

    @behaviour(f"{title}should be consumable in multiple volumes {several} [NodeConformance]")
    def twice(world):
        pods, _ = holder(world, kind, {"data-1": "value-1"})
        mounts = [mounted(), mounted("second", "/etc/second")]
        volumes = [volume(kind, "source", projected), volume(kind, "source", projected, volume_name="second")]
        said = pods.says("pod", pods.container(f"cat {MOUNT}/data-1; cat /etc/second/data-1", volumeMounts=mounts), volumes=volumes)
        equal(said, "value-1value-1")

    @behaviour(f"{title}optional updates should be reflected in volume [NodeConformance]")
    def optional(world):
        pods, objects = holder(world, kind, {"data-1": "value-1"}, "deleted")
        field = "data" if kind == "configMap" else "stringData"
        objects.create({"metadata": meta("updated"), field: {"data-1": "value-1"}})
        names = ("deleted", "updated", "created")
        mounts = [mounted(name, f"/etc/{name}") for name in names]
        volumes = [volume(kind, name, projected, volume_name=name, optional=True) for name in names]
        pods.create("pod", pods.container(volumeMounts=mounts), volumes=volumes)
        pods.ready("pod")
        equal(pods.exec("pod", "cat /etc/deleted/data-1; ls /etc/created"), "value-1")
        objects.delete("deleted")
        objects.change("updated", lambda body: body.update({"data": None, field: {"data-3": "value-3"}}))
        objects.create({"metadata": meta("created"), field: {"data-1": "value-1"}})
        wanted = "value-1;value-3;gone;gone"
        command = """cat /etc/created/data-1; echo -n ';'; cat /etc/updated/data-3
            for file in deleted updated; do echo -n ';'; ls /etc/$file/data-1 >/dev/null 2>&1 || echo -n gone; done"""
        eventually("the files are as the objects", lambda: pods.exec("pod", command) == wanted, 150, 1)


for found_kind, found_projected in TITLES:
    consumed(found_kind, found_projected)


def updated(title, projected):
    @behaviour(title + "updates should be reflected in volume [NodeConformance]")
    def reflected(world):
        pods, objects = holder(world, "configMap", {"data-1": "value-1"})
        pods.create("pod", pods.container(volumeMounts=[mounted()]), volumes=[volume("configMap", "source", projected)])
        pods.ready("pod")
        equal(pods.exec("pod", f"cat {MOUNT}/data-1"), "value-1")
        objects.change("source", lambda body: body["data"].update({"data-1": "value-2"}))
        eventually("the file is updated", lambda: pods.exec("pod", f"cat {MOUNT}/data-1") == "value-2", 150, 1)


updated("[sig-storage] ConfigMap ", False)
updated("[sig-storage] Projected configMap ", True)


@behaviour("[sig-storage] ConfigMap binary data should be reflected in volume [NodeConformance]")
def binary(world):
    pods = Pods(world, world.namespace("files"))
    body = {"metadata": meta("source"), "data": {"data-1": "value-1"}, "binaryData": {"dump.bin": "3sr+q/8A"}}
    world.resource("v1", "configmaps", pods.namespace).create(body)
    command = f"cat {MOUNT}/data-1; hexdump -e '16/1 \"%02x\"' {MOUNT}/dump.bin"
    said = pods.says("pod", pods.container(command, volumeMounts=[mounted()]), volumes=[volume("configMap", "source", False)])
    equal(said.strip(), "value-1decafeabff00")


@behaviour(
    "[sig-storage] Secrets should be able to mount in a volume regardless of a different secret existing with same name in different namespace [NodeConformance]"
)
def same_name(world):
    holder(world, "secret", {"data-1": "other"})
    pods, _ = holder(world, "secret", {"data-1": "value-1"})
    said = pods.says("pod", pods.container(f"cat {MOUNT}/data-1", volumeMounts=[mounted()]), volumes=[volume("secret", "source", False)])
    equal(said, "value-1")


def of_field(path, field, **more):
    return {"path": path, "fieldRef": {"fieldPath": field}, **more}


def of_resource(path, resource, divisor="0"):
    return {"path": path, "resourceFieldRef": {"containerName": "main", "resource": resource, "divisor": divisor}}


def downward(title, projected):
    def given(items, mode=None):
        own = {"defaultMode": mode} if mode is not None else {}
        if projected:
            return [{"name": "files", "projected": {"sources": [{"downwardAPI": {"items": items}}], **own}}]
        return [{"name": "files", "downwardAPI": {"items": items, **own}}]

    def case(name, item, command, holds, mode=None, **container):
        @behaviour(title + name)
        def told(world):
            pods = Pods(world, world.namespace("downward"))
            said = pods.says("pod", pods.container(command, volumeMounts=[mounted()], **container), volumes=given([item], mode))
            assert holds(said.strip()), said

    resources = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
    name = of_field("podname", "metadata.name")
    case("should provide podname only [NodeConformance]", name, f"cat {MOUNT}/podname", "pod".__eq__)
    mode = f"stat -L -c %A {MOUNT}/podname"
    case("should set DefaultMode on files [LinuxOnly] [NodeConformance]", name, mode, "-r--------".__eq__, 0o400)
    case("should set mode on item file [LinuxOnly] [NodeConformance]", {**name, "mode": 0o400}, mode, "-r--------".__eq__)
    for what, resource, divisor, wanted in (
        ("cpu limit", "limits.cpu", "0", "2"),
        ("cpu request", "requests.cpu", "0", "1"),
        ("memory limit", "limits.memory", "0", str(64 << 20)),
        ("memory request", "requests.memory", "0", str(32 << 20)),
    ):
        item = of_resource("given", resource, divisor)
        case(f"should provide container's {what} [NodeConformance]", item, f"cat {MOUNT}/given", wanted.__eq__, resources=resources)
    for what in ("cpu", "memory"):
        title_of = f"should provide node allocatable ({what}) as default {what} limit if the limit is not set [NodeConformance]"
        case(title_of, of_resource("given", f"limits.{what}"), f"cat {MOUNT}/given", lambda said: int(said) > 0)

    for what in ("labels", "annotations"):

        @behaviour(title + f"should update {what} on modification [NodeConformance]")
        def follows(world, what=what):
            pods = Pods(world, world.namespace("downward"))
            options = {what: {"builder": "bar"}}
            pods.create("pod", pods.container(volumeMounts=[mounted()]), volumes=given([of_field(what, f"metadata.{what}")]), **options)
            pods.ready("pod")
            assert 'builder="bar"' in pods.exec("pod", f"cat {MOUNT}/{what}")
            pods.resource.patch("pod", {"metadata": {what: {"builder": "foo"}}})
            eventually("the file is updated", lambda: 'builder="foo"' in pods.exec("pod", f"cat {MOUNT}/{what}"), 150, 1)


downward("[sig-storage] Downward API volume ", False)
downward("[sig-storage] Projected downwardAPI ", True)


@behaviour("[sig-storage] Projected combined should project all components that make up the projection API [Projection] [NodeConformance]")
def combined(world):
    pods, _ = holder(world, "configMap", {"data": "from a map"})
    holder(world, "secret", {"data": "from a secret"}, namespace=pods.namespace)
    sources = [
        {"downwardAPI": {"items": [of_field("podname", "metadata.name")]}},
        {"secret": {"name": "source", "items": [{"key": "data", "path": "secret-data"}]}},
        {"configMap": {"name": "source", "items": [{"key": "data", "path": "map-data"}]}},
    ]
    command = f"cd {MOUNT}; cat podname secret-data map-data"
    said = pods.says("pod", pods.container(command, volumeMounts=[mounted()]), volumes=[{"name": "files", "projected": {"sources": sources}}])
    equal(said, "podfrom a secretfrom a map")
