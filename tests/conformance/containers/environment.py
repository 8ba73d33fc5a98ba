"""What a container is given: commands, arguments, variables and their expansion, users and rights, kernel settings."""

import re

from client import Refused, equal, eventually, meta
from pods import Pods, condition
from registry import behaviour

SECURITY = "[sig-node] Security Context "


def of_resource(name, resource, container=None):
    more = {"containerName": container} if container else {}
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, **more}}}


def of_field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


@behaviour("[sig-node] Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars [NodeConformance]")
def limits(world):
    pods = Pods(world, world.namespace("downward-api"))
    resources = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"cpu": "1250m", "memory": "64Mi"}}
    env = [of_resource(what.replace(".", "_").upper(), what) for what in ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory")]
    said = pods.says("pod", pods.container("env", resources=resources, env=env)).splitlines()
    for line in ("LIMITS_CPU=2", "LIMITS_MEMORY=67108864", "REQUESTS_CPU=1", "REQUESTS_MEMORY=33554432"):
        assert line in said, said


@behaviour("[sig-node] Downward API should provide default limits.cpu/memory from node allocatable [NodeConformance]")
def defaults(world):
    pods = Pods(world, world.namespace("downward-api"))
    env = [of_resource("CPU_LIMIT", "limits.cpu"), of_resource("MEMORY_LIMIT", "limits.memory")]
    said = pods.says("pod", pods.container("env", env=env))
    assert re.search(r"CPU_LIMIT=[1-9]", said) and re.search(r"MEMORY_LIMIT=[1-9]", said), said


@behaviour(
    "[sig-node] Downward API should provide host IP as an env var [NodeConformance]",
    "[sig-node] Downward API should provide hostIPs as an env var [NodeConformance]",
    "[sig-node] Downward API should provide pod UID as env vars [NodeConformance]",
)
def addresses(world):
    pods = Pods(world, world.namespace("downward-api"))
    env = [of_field("HOST_IP", "status.hostIP"), of_field("HOST_IPS", "status.hostIPs"), of_field("POD_UID", "metadata.uid")]
    said = pods.says("pod", pods.container('echo "$HOST_IP $HOST_IPS $POD_UID"', env=env)).split()
    pod = pods.resource.get("pod")
    addresses = ",".join(one["ip"] for one in pod["status"]["hostIPs"])
    equal(said, [pod["status"]["hostIP"], addresses, pod["metadata"]["uid"]])


@behaviour("[sig-node] Variable Expansion should allow composing env vars into new env vars [NodeConformance]")
def composed(world):
    pods = Pods(world, world.namespace("var-expansion"))
    env = [{"name": "FOO", "value": "foo-value"}, {"name": "BAR", "value": "bar-value"}, {"name": "FOOBAR", "value": "$(FOO);;$(BAR)"}]
    assert "FOOBAR=foo-value;;bar-value" in pods.says("pod", pods.container("env", env=env))


@behaviour(
    "[sig-node] Variable Expansion should allow substituting values in a container's command [NodeConformance]",
    "[sig-node] Variable Expansion should allow substituting values in a container's args [NodeConformance]",
)
def substituted(world):
    pods = Pods(world, world.namespace("var-expansion"))
    env = [{"name": "TEST_VAR", "value": "test-value"}]
    command = {"command": ["sh", "-c", 'TEST_VAR=wrong; echo "$(TEST_VAR)"']}
    equal(pods.says("command", {"name": "c", "image": world.image, "env": env, **command}), "test-value\n")
    args = {"command": ["sh", "-c"], "args": ['TEST_VAR=wrong; echo "$(TEST_VAR)"']}
    equal(pods.says("args", {"name": "c", "image": world.image, "env": env, **args}), "test-value\n")


def subpath_pod(pods, name, annotations=None, command=None, expr="$(ANNOTATION)", **spec):
    env = [{"name": "POD_NAME", "value": "foo"}, of_field("ANNOTATION", "metadata.annotations['mysubpath']")]
    mounts = [{"name": "workdir1", "mountPath": "/subpath_mount", "subPathExpr": expr}, {"name": "workdir1", "mountPath": "/volume_mount"}]
    container = pods.container(command, env=env, volumeMounts=mounts)
    volumes = [{"name": "workdir1", "emptyDir": {}}]
    return pods.create(name, container, annotations=annotations, volumes=volumes, **spec)


@behaviour("[sig-node] Variable Expansion should allow substituting values in a volume subpath")
def subpath(world):
    pods = Pods(world, world.namespace("var-expansion"))
    command = "touch /subpath_mount/test.log && test -d /volume_mount/foo && test -f /volume_mount/foo/test.log"
    subpath_pod(pods, "pod", {"mysubpath": "x"}, command, "$(POD_NAME)", restartPolicy="Never")
    pods.phase("pod", "Succeeded")


@behaviour(
    "[sig-node] Variable Expansion should fail substituting values in a volume subpath with absolute path",
    "[sig-node] Variable Expansion should fail substituting values in a volume subpath with backticks",
)
def bad_subpath(world):
    pods = Pods(world, world.namespace("var-expansion"))
    for name, path in (("absolute", "/tmp"), ("backticks", "../x")):
        subpath_pod(pods, name, {"mysubpath": path})
        what = "waits for a container that cannot be made"
        pods.wait(name, what, lambda pod: (pod["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError")
        equal(pods.resource.get(name)["status"]["phase"], "Pending")


@behaviour("[sig-node] Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of a container [Slow]")
def mended_subpath(world):
    pods = Pods(world, world.namespace("var-expansion"))
    subpath_pod(pods, "pod", {"notmysubpath": "mypath"})
    pods.wait("pod", "is pending", lambda pod: pod["status"].get("containerStatuses"))
    equal(pods.resource.get("pod")["status"]["phase"], "Pending")
    pods.resource.patch("pod", {"metadata": {"annotations": {"mysubpath": "mypath"}}})
    pods.phase("pod", "Running", 120)


@behaviour("[sig-node] Variable Expansion should succeed in writing subpaths in container")
def writes(world):
    pods = Pods(world, world.namespace("var-expansion"))
    subpath_pod(pods, "pod", {"mysubpath": "mypath"})
    pods.phase("pod", "Running")
    pods.exec("pod", "touch /volume_mount/mypath/foo/test.log || touch /volume_mount/mypath/test.log")
    equal(pods.exec("pod", "test -f /subpath_mount/test.log && echo there"), "there\n")
    pods.resource.patch("pod", {"metadata": {"annotations": {"mysubpath": "mynewpath"}}})
    pods.resource.delete("pod", gracePeriodSeconds=1)
    eventually("it is gone", lambda: not pods.resource.exists("pod"))


@behaviour(
    "[sig-node] Security Context When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly] [NodeConformance]",
    SECURITY + "should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup [LinuxOnly]",
    SECURITY + "should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly]",
)
def users(world):
    pods = Pods(world, world.namespace("security-context-test"))
    pods.phase(pods.create("uid", pods.container('test "$(id -u)" -eq 65534', securityContext={"runAsUser": 65534}), restartPolicy="Never")["metadata"]["name"], "Succeeded")
    ids = {"runAsUser": 1001, "runAsGroup": 2002}
    said = pods.says("container", pods.container("id", securityContext=ids))
    assert "uid=1001" in said and "gid=2002" in said, said
    said = pods.says("pod", pods.container("id"), securityContext=ids)
    assert "uid=1001" in said and "gid=2002" in said, said


@behaviour("[sig-node] Security Context When creating a pod with privileged should run the container as unprivileged when false [LinuxOnly] [NodeConformance]")
def unprivileged(world):
    pods = Pods(world, world.namespace("security-context-test"))
    said = pods.says("pod", pods.container("ip link add dummy0 type dummy || true", securityContext={"privileged": False}))
    assert "Operation not permitted" in said, said


@behaviour("[sig-node] Security Context When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false [NodeConformance]")
def writable(world):
    pods = Pods(world, world.namespace("security-context-test"))
    pods.says("pod", pods.container("touch checkfile", securityContext={"readOnlyRootFilesystem": False}))


@behaviour("[sig-node] Security Context When creating containers with AllowPrivilegeEscalation should not allow privilege escalation when false [LinuxOnly] [NodeConformance]")
def escalation(world):
    pods = Pods(world, world.namespace("security-context-test"))
    said = pods.says("pod", pods.container("grep NoNewPrivs /proc/self/status", securityContext={"allowPrivilegeEscalation": False, "runAsUser": 1000}))
    equal(said.split(), ["NoNewPrivs:", "1"])


SYSCTLS = "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should "


@behaviour(SYSCTLS + "support sysctls [Environment:NotInUserNS]")
def sysctl(world):
    pods = Pods(world, world.namespace("sysctl"))
    security = {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}
    said = pods.says("pod", pods.container("/bin/sysctl kernel.shm_rmid_forced"), securityContext=security)
    assert "kernel.shm_rmid_forced = 1" in said, said


@behaviour(SYSCTLS + "reject invalid sysctls")
def bad_sysctl(world):
    pods = Pods(world, world.namespace("sysctl"))
    names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."]
    security = {"sysctls": [{"name": name, "value": "bar"} for name in names]}
    try:
        pods.create("pod", pods.container(), securityContext=security)
    except Refused as refused:
        equal(refused.status, 422)
        for name in ("foo-", "bar.."):
            assert f'Invalid value: "{name}"' in refused.message, refused.message
        assert "safe-and-unsafe" not in refused.message and "kernel.shmmax" not in refused.message, refused.message
    else:
        raise AssertionError("it is created")


CONTAINERS = "[sig-node] Containers should "


@behaviour(
    CONTAINERS + "use the image defaults if command and args are blank [NodeConformance]",
    CONTAINERS + "be able to override the image's default arguments (container cmd) [NodeConformance]",
    CONTAINERS + "be able to override the image's default command (container entrypoint) [NodeConformance]",
    CONTAINERS + "be able to override the image's default command and arguments [NodeConformance]",
)
def commands(world):
    pods = Pods(world, world.namespace("containers"))
    image = {"name": "c", "image": world.image}
    pods.create("blank", dict(image))
    pods.ready("blank")
    said = pods.exec("blank", "tr '\\0' ' ' < /proc/1/cmdline")
    assert said.startswith("/bin/sh -c trap exit TERM"), said
    equal(pods.says("args", {**image, "args": ["-c", "echo override arguments"]}), "override arguments\n")
    equal(pods.says("command", {**image, "command": ["/bin/echo", "override"]}), "override\n")
    equal(pods.says("both", {**image, "command": ["/bin/echo"], "args": ["override", "arguments"]}), "override arguments\n")


@behaviour(
    "[sig-node] ConfigMap should be consumable via environment variable [NodeConformance]",
    "[sig-node] ConfigMap should be consumable via the environment [NodeConformance]",
    "[sig-node] ConfigMap should be consumable as environment variable names with various prefixes",
    "[sig-node] Secrets should be consumable from pods in env vars [NodeConformance]",
    "[sig-node] Secrets should be consumable via the environment [NodeConformance]",
    "[sig-node] Secrets should be consumable as environment variable names variable names with various prefixes",
)
def sources(world):
    pods = Pods(world, world.namespace("sources"))
    world.resource("v1", "configmaps", pods.namespace).create({"metadata": meta("map"), "data": {"data_1": "value-1", "data_2": "value-2"}})
    world.resource("v1", "secrets", pods.namespace).create({"metadata": meta("secret"), "stringData": {"s1": "secret-1"}})
    env = [
        {"name": "CONFIG_DATA_1", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "data_1"}}},
        {"name": "SECRET_DATA", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "s1"}}},
    ]
    several = ["p-", "p_", "1-1", "$_-", "data-2."]
    refs = [{"configMapRef": {"name": "map"}}, {"secretRef": {"name": "secret"}}] + [{"prefix": prefix, "configMapRef": {"name": "map"}} for prefix in several]
    # A shell would keep such names to itself.
    said = pods.says("pod", pods.container(command=None, env=env, envFrom=refs) | {"command": ["/bin/env"]}).splitlines()
    for line in ["CONFIG_DATA_1=value-1", "SECRET_DATA=secret-1", "data_1=value-1", "data_2=value-2", "s1=secret-1"] + [f"{prefix}data_1=value-1" for prefix in several]:
        assert line in said, (line, said)


@behaviour(
    "[sig-node] Ephemeral Containers [NodeConformance] will start an ephemeral container in an existing pod",
    "[sig-node] Ephemeral Containers [NodeConformance] should update the ephemeral containers in an existing pod",
)
def ephemeral(world):
    pods = Pods(world, world.namespace("ephemeral-containers-test"))
    pods.create("pod", pods.container(name="test-container-1"))
    pods.ready("pod")
    debugger = {**pods.container("echo polo; sleep 600", name="debugger"), "stdin": True, "tty": True}
    pods.resource.patch("pod", {"spec": {"ephemeralContainers": [debugger]}}, "ephemeralcontainers", kind="application/strategic-merge-patch+json")

    def runs(pod):
        found = {one["name"]: one for one in pod["status"].get("ephemeralContainerStatuses") or []}
        return "running" in found.get("debugger", {}).get("state", {})

    pods.wait("pod", "has its ephemeral container", runs)
    assert "polo" in pods.logs("pod", "debugger")
    equal(condition(pods.resource.get("pod"), "Ready"), "True")
