"""Empty folders of pods, on the disk and in memory; several volumes in one pod; parts of volumes."""

from client import equal, eventually, meta
from pods import Pods
from registry import behaviour

EMPTY = "[sig-storage] EmptyDir "


def folder(medium):
    return [{"name": "test-volume", "emptyDir": {"medium": "Memory"} if medium == "tmpfs" else {}}]


MOUNTS = [{"name": "test-volume", "mountPath": "/test-volume"}]


def supports(user, mode, medium):
    @behaviour(EMPTY + f"volumes should support ({user},{mode},{medium}) [LinuxOnly] [NodeConformance]")
    def supported(world):
        pods = Pods(world, world.namespace("emptydir"))
        security = {"runAsUser": 1001} if user == "non-root" else {}
        command = f"""cd /test-volume && touch file && echo -n 'mount-tester new file' > file && chmod {mode} file && cat file && echo
            stat -c '%A' file /test-volume; grep ' /test-volume ' /proc/mounts | cut -d' ' -f3"""
        container = pods.container(command, volumeMounts=MOUNTS, securityContext=security)
        content, file, root, kind = pods.says("pod", container, volumes=folder(medium)).splitlines()
        equal((content, root), ("mount-tester new file", "drwxrwxrwx"))
        equal(file, {"0644": "-rw-r--r--", "0666": "-rw-rw-rw-", "0777": "-rwxrwxrwx"}[mode])
        assert (kind == "tmpfs") == (medium == "tmpfs"), kind


for given_user in ("root", "non-root"):
    for given_mode in ("0644", "0666", "0777"):
        for given_medium in ("tmpfs", "default"):
            supports(given_user, given_mode, given_medium)


def has_mode(medium, title):
    @behaviour(EMPTY + f"volumes volume on {title} should have the correct mode [LinuxOnly] [NodeConformance]")
    def right(world):
        pods = Pods(world, world.namespace("emptydir"))
        command = "stat -c %A /test-volume; grep ' /test-volume ' /proc/mounts | cut -d' ' -f3"
        root, kind = pods.says("pod", pods.container(command, volumeMounts=MOUNTS), volumes=folder(medium)).splitlines()
        equal(root, "drwxrwxrwx")
        assert (kind == "tmpfs") == (medium == "tmpfs"), kind


has_mode("tmpfs", "tmpfs")
has_mode("default", "default medium")


@behaviour(EMPTY + "volumes pod should support shared volumes between containers")
def shared(world):
    pods = Pods(world, world.namespace("emptydir"))
    main = pods.container(name="main", volumeMounts=MOUNTS)
    sub = pods.container("echo Hello > /test-volume/data; sleep 600", "sub", volumeMounts=MOUNTS)
    pods.create("pod", main, sub, volumes=folder("default"))
    pods.ready("pod")
    eventually("what the other wrote", lambda: pods.exec("pod", "cat /test-volume/data", "main") == "Hello\n", 30)


@behaviour(EMPTY + "wrapper volumes should not conflict")
def no_conflict(world):
    pods = Pods(world, world.namespace("emptydir-wrapper"))
    world.resource("v1", "configmaps", pods.namespace).create({"metadata": meta("map"), "data": {"data-1": "value-1"}})
    world.resource("v1", "secrets", pods.namespace).create({"metadata": meta("secret"), "stringData": {"data-1": "value-1"}})
    volumes = [{"name": "secret-volume", "secret": {"secretName": "secret"}}, {"name": "map-volume", "configMap": {"name": "map"}}]
    mounts = [{"name": volume["name"], "mountPath": f"/etc/{volume['name']}", "readOnly": True} for volume in volumes]
    pods.create("pod", pods.container(volumeMounts=mounts), volumes=volumes)
    pods.ready("pod")


@behaviour(EMPTY + "wrapper volumes should not cause race condition when used for configmaps [Serial]", serial=True)
def no_race(world):
    pods = Pods(world, world.namespace("emptydir-wrapper"))
    maps = world.resource("v1", "configmaps", pods.namespace)
    names = [f"racey-configmap-{number}" for number in range(50)]
    for name in names:
        maps.create({"metadata": meta(name), "data": {"data-1": "value-1"}})
    volumes = [{"name": name, "configMap": {"name": name, "items": [{"key": "data-1", "path": "data-1"}]}} for name in names]
    mounts = [{"name": name, "mountPath": f"/etc/config-{name}"} for name in names]
    for attempt in range(3):
        controllers = world.resource("v1", "replicationcontrollers", pods.namespace)
        name = f"wrapped-volume-race-{attempt}"
        container = pods.container(volumeMounts=mounts)
        template = {"metadata": {"labels": {"name": name}}, "spec": {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1}}
        controllers.create({"metadata": meta(name), "spec": {"replicas": 5, "selector": {"name": name}, "template": template}})

        def all_run(name=name):
            found = pods.resource.list(labelSelector=f"name={name}")["items"]
            return len(found) == 5 and all(pod["status"]["phase"] == "Running" for pod in found)

        eventually("five pods with fifty volumes run", all_run, 180)
        controllers.delete(name, {"propagationPolicy": "Foreground"})
        eventually("they are gone", lambda name=name: not pods.resource.names(labelSelector=f"name={name}"), 120)


SUBPATH = "[sig-storage] Subpath Atomic writer volumes should support subpaths with "


def parts(title, source, file, wanted, mount="/test-volume"):
    @behaviour(SUBPATH + title)
    def part(world):
        pods = Pods(world, world.namespace("subpath"))
        world.resource("v1", "configmaps", pods.namespace).create({"metadata": meta("my-configmap"), "data": {"configmap-key": "configmap-value"}})
        world.resource("v1", "secrets", pods.namespace).create({"metadata": meta("my-secret"), "stringData": {"secret-key": "secret-value"}})
        probe = {"name": "liveness-probe-volume", "mountPath": "/probe-volume"}
        mounts = [{"name": "test-volume", "mountPath": mount, "subPath": file}, probe]
        # For longer than the node needs to write volumes again.
        command = f"for i in 1 2 3 4 5 6 7 8 9 10; do cat {mount}; sleep 1; done"
        spec = {
            "initContainers": [pods.container("true", "init-volume", volumeMounts=[*MOUNTS, probe])],
            "volumes": [{"name": "test-volume", **source}, {"name": "liveness-probe-volume", "emptyDir": {}}],
            # A node without SELinux passes over it.
            "securityContext": {"seLinuxOptions": {"level": "s0:c0,c1"}},
        }
        pods.create("pod", pods.container(command, volumeMounts=mounts), restartPolicy="Never", **spec)
        pods.phase("pod", "Succeeded")
        equal(pods.logs("pod"), wanted("pod") * 10)


parts("secret pod", {"secret": {"secretName": "my-secret"}}, "secret-key", lambda _: "secret-value")
parts("configmap pod", {"configMap": {"name": "my-configmap"}}, "configmap-key", lambda _: "configmap-value")
parts(
    "configmap pod with mountPath of existing file", {"configMap": {"name": "my-configmap"}}, "configmap-key", lambda _: "configmap-value", "/etc/resolv.conf"
)
NAME = [{"path": "downward/podname", "fieldRef": {"fieldPath": "metadata.name"}}]
parts("downward pod", {"downwardAPI": {"items": NAME}}, "downward/podname", lambda name: name)
PROJECTED = {"sources": [{"configMap": {"name": "my-configmap", "items": [{"key": "configmap-key", "path": "projected/configmap-key"}]}}]}
parts("projected pod", {"projected": PROJECTED}, "projected/configmap-key", lambda _: "configmap-value")
