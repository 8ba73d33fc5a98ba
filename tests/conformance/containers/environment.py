"""Commands, arguments and variables of containers: from the image, from maps and secrets, and by expansion."""

import base64

from client import equal, meta
from containers.downward import environment, field
from pods import Pods
from registry import behaviour

CONTAINERS = "[sig-node] Containers should "
EXPANSION = "[sig-node] Variable Expansion should "


def with_arguments(pods, **given):
    return {**pods.container(), **given}


@behaviour(CONTAINERS + "be able to override the image's default arguments (container cmd) [NodeConformance]")
def arguments(world):
    pods = Pods(world, world.namespace("containers"))
    equal(pods.says("told", with_arguments(pods, args=["-c", "echo overridden"])), "overridden\n")


@behaviour(CONTAINERS + "be able to override the image's default command (container entrypoint) [NodeConformance]")
def entrypoint(world):
    pods = Pods(world, world.namespace("containers"))
    equal(pods.says("told", with_arguments(pods, command=["/bin/echo"])), "\n")  # and the image's arguments are not taken


@behaviour(CONTAINERS + "be able to override the image's default command and arguments [NodeConformance]")
def both(world):
    pods = Pods(world, world.namespace("containers"))
    equal(pods.says("told", with_arguments(pods, command=["/bin/echo"], args=["a b", "c"])), "a b c\n")


@behaviour(CONTAINERS + "use the image defaults if command and args are blank [NodeConformance]")
def defaults(world):
    pods = Pods(world, world.namespace("containers"))
    pods.create("told", pods.container())
    pods.ready("told")
    equal(pods.exec("told", "tr '\\0' ' ' < /proc/1/cmdline").split(" ")[:3], ["/bin/sh", "-c", "trap"])


DATA = {"data-1": "value-1", "data_2": "value-2", "data.3": "value-3"}


def store(pods, plural, name):
    """The same values in a map or a secret, and how a container refers to them."""
    kind, data = "ConfigMap", DATA
    if plural == "secrets":
        kind, data = "Secret", {key: base64.b64encode(value.encode()).decode() for key, value in DATA.items()}
    pods.world.resource("v1", plural, pods.namespace).create({"apiVersion": "v1", "kind": kind, "metadata": meta(name), "data": data})


def by_key(plural, name, key):
    found = "configMapKeyRef" if plural == "configmaps" else "secretKeyRef"
    return {"valueFrom": {found: {"name": name, "key": key}}}


def whole(plural, name):
    return {"configMapRef" if plural == "configmaps" else "secretRef": {"name": name}}


def sources(plural, one, all_of_it, prefixed):
    @behaviour(one)
    def single(world):
        pods = Pods(world, world.namespace("values"))
        store(pods, plural, "values")
        env = [{"name": "CONFIG_DATA_1", **by_key(plural, "values", "data-1")}]
        equal(environment(pods, "told", env)[0]["CONFIG_DATA_1"], "value-1")

    def names(world, prefixes):
        pods = Pods(world, world.namespace("values"))
        store(pods, plural, "values")
        sources = [{**whole(plural, "values"), **({"prefix": prefix} if prefix else {})} for prefix in prefixes]
        # A shell would leave out the names that are not its own.
        said = pods.says("told", {**pods.container(envFrom=sources), "command": ["/bin/env"]}).splitlines()
        for prefix in prefixes:
            for key, value in DATA.items():
                assert f"{prefix}{key}={value}" in said, (prefix, key, said)

    behaviour(all_of_it)(lambda world: names(world, ["", "p_"]))
    behaviour(prefixed)(lambda world: names(world, ["", "p_", "p-", "p.", "1", "-", "$_", " !\"#%&'()*+,/:;<>?@[\\]^`{|}~"]))


sources(
    "configmaps",
    "[sig-node] ConfigMap should be consumable via environment variable [NodeConformance]",
    "[sig-node] ConfigMap should be consumable via the environment [NodeConformance]",
    "[sig-node] ConfigMap should be consumable as environment variable names with various prefixes",
)
sources(
    "secrets",
    "[sig-node] Secrets should be consumable from pods in env vars [NodeConformance]",
    "[sig-node] Secrets should be consumable via the environment [NodeConformance]",
    "[sig-node] Secrets should be consumable as environment variable names variable names with various prefixes",
)


@behaviour(EXPANSION + "allow composing env vars into new env vars [NodeConformance]")
def composed(world):
    pods = Pods(world, world.namespace("var-expansion"))
    values = {"FOO": "foo-value", "BAR": "bar-value", "FOOBAR": "$(FOO);;$(BAR)", "KEPT": "$$(FOO) $(NONE) $(LATER) $(FOO", "LATER": "x"}
    found, _ = environment(pods, "told", [{"name": name, "value": value} for name, value in values.items()])
    equal((found["FOOBAR"], found["KEPT"]), ("foo-value;;bar-value", "$(FOO) $(NONE) $(LATER) $(FOO"))


TEST = [{"name": "TEST_VAR", "value": "test-value"}]


@behaviour(EXPANSION + "allow substituting values in a container's command [NodeConformance]")
def in_command(world):
    pods = Pods(world, world.namespace("var-expansion"))
    said = pods.says("told", pods.container("TEST_VAR=wrong echo \"$(TEST_VAR)\"", env=TEST))
    equal(said, "test-value\n")


@behaviour(EXPANSION + "allow substituting values in a container's args [NodeConformance]")
def in_arguments(world):
    pods = Pods(world, world.namespace("var-expansion"))
    said = pods.says("told", {**pods.container(env=TEST), "command": ["/bin/echo"], "args": ["$(TEST_VAR)", "$$(TEST_VAR)", "$(OTHER)"]})
    equal(said, "test-value $(TEST_VAR) $(OTHER)\n")


MOUNTS = [{"name": "workdir1", "mountPath": "/subpath_mount", "subPathExpr": "$(POD_NAME)"}, {"name": "workdir1", "mountPath": "/volume_mount"}]
VOLUMES = [{"name": "workdir1", "emptyDir": {}}]


@behaviour(EXPANSION + "allow substituting values in a volume subpath")
def subpath(world):
    pods = Pods(world, world.namespace("var-expansion"))
    container = pods.container("test -d /volume_mount/told; echo $?", env=[field("POD_NAME", "metadata.name")], volumeMounts=MOUNTS)
    equal(pods.says("told", container, volumes=VOLUMES), "0\n")


def config_error(pods, name):
    def holds(pod):
        status = (pod["status"].get("containerStatuses") or [{}])[0]
        return status.get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"

    return pods.wait(name, "cannot have its container made", holds)


def outside(title, value):
    @behaviour(EXPANSION + f"fail substituting values in a volume subpath with {title}")
    def refused(world):
        pods = Pods(world, world.namespace("var-expansion"))
        container = pods.container(env=[{"name": "POD_NAME", "value": value}], volumeMounts=MOUNTS)
        pods.create("told", container, volumes=VOLUMES)
        config_error(pods, "told")


outside("backticks", "..")
outside("absolute path", "/tmp")

ANNOTATED = [{**MOUNTS[0], "subPathExpr": "$(ANNOTATION)/$(POD_NAME)"}, MOUNTS[1]]
NAMES = [field("POD_NAME", "metadata.name"), field("ANNOTATION", "metadata.annotations['mysubpath']")]


def annotate(pods, value):
    pods.resource.change("told", lambda pod: pod["metadata"].setdefault("annotations", {}).update(mysubpath=value))


@behaviour(EXPANSION + "verify that a failing subpath expansion can be modified during the lifecycle of a container [Slow]")
def mended(world):
    pods = Pods(world, world.namespace("var-expansion"))
    pods.create("told", pods.container(env=NAMES, volumeMounts=ANNOTATED), volumes=VOLUMES, annotations={"notmysubpath": "mypath"})
    config_error(pods, "told")
    annotate(pods, "mypath")
    pods.phase("told", "Running", 120)
    equal(pods.exec("told", "test -d /volume_mount/mypath/told; echo $?"), "0\n")


@behaviour(EXPANSION + "succeed in writing subpaths in container")
def written(world):
    pods = Pods(world, world.namespace("var-expansion"))
    pods.create("told", pods.container(env=NAMES, volumeMounts=ANNOTATED), volumes=VOLUMES, annotations={"mysubpath": "mypath"})
    pods.phase("told", "Running")
    equal(pods.exec("told", "touch /volume_mount/mypath/told/test.log && test -f /subpath_mount/test.log; echo $?"), "0\n")
    annotate(pods, "mynewpath")
    pods.phase("told", "Running")
    equal(pods.resource.get("told")["status"]["containerStatuses"][0]["restartCount"], 0)
