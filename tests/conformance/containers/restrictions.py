"""What containers may not do and as whom they run; kernel parameters; classes of runtimes; volumes of images."""

from client import equal, eventually, meta, refused
from pods import Pods
from registry import behaviour

SECURITY = "[sig-node] Security Context "


def says_as(world, command, context=None, of_pod=None):
    pods = Pods(world, world.namespace("security-context"))
    spec = {"securityContext": of_pod} if of_pod else {}
    return pods.says("restricted", pods.container(command, **({"securityContext": context} if context else {})), **spec)


@behaviour(SECURITY + "When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly] [NodeConformance]")
def nobody(world):
    equal(says_as(world, "id -u", {"runAsUser": 65534}), "65534\n")


@behaviour(SECURITY + "should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup [LinuxOnly]")
def container_user(world):
    said = says_as(world, "id", {"runAsUser": 1001, "runAsGroup": 2002}, {"runAsUser": 1000, "runAsGroup": 2000})
    assert "uid=1001" in said and "gid=2002" in said, said


@behaviour(SECURITY + "should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly]")
def pod_user(world):
    said = says_as(world, "id", None, {"runAsUser": 1001, "runAsGroup": 2002})
    assert "uid=1001" in said and "gid=2002" in said, said


@behaviour(SECURITY + "When creating a pod with privileged should run the container as unprivileged when false [LinuxOnly] [NodeConformance]")
def unprivileged(world):
    said = says_as(world, "ip link add dummy0 type dummy 2>&1 || true", {"privileged": False})
    assert "Operation not permitted" in said, said


WRITABLE = "When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false"


@behaviour(SECURITY + f"{WRITABLE} [NodeConformance]")
def writable(world):
    equal(says_as(world, "touch checkfile && echo written", {"readOnlyRootFilesystem": False}), "written\n")


ESCALATION = "when creating containers with AllowPrivilegeEscalation should not allow privilege escalation when false"


@behaviour(SECURITY + f"{ESCALATION} [LinuxOnly] [NodeConformance]")
def no_escalation(world):
    said = says_as(world, "id -u; grep NoNewPrivs /proc/self/status", {"runAsUser": 1000, "allowPrivilegeEscalation": False})
    equal(said.split(), ["1000", "NoNewPrivs:", "1"])


SYSCTLS = "[sig-node] Sysctls [LinuxOnly] [NodeConformance] should "


@behaviour(SYSCTLS + "support sysctls [Environment:NotInUserNS]")
def sysctls(world):
    pods = Pods(world, world.namespace("sysctl"))
    context = {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}
    said = pods.says("sysctl", pods.container("/bin/sysctl kernel.shm_rmid_forced"), securityContext=context)
    equal(said, "kernel.shm_rmid_forced = 1\n")


@behaviour(SYSCTLS + "reject invalid sysctls")
def invalid_sysctls(world):
    pods = Pods(world, world.namespace("sysctl"))
    names = {"foo-": "bar", "kernel.shmmax": "100000000", "safe-and-unsafe": "100000000", "bar..": "42"}
    sysctls = [{"name": name, "value": value} for name, value in names.items()]
    said = refused(422, lambda: pods.create("sysctl", pods.container(), securityContext={"sysctls": sysctls})).message
    for part in ('Invalid value: "foo-"', 'Invalid value: "bar.."'):
        assert part in said, said
    for part in ("safe-and-unsafe", "kernel.shmmax"):
        assert part not in said, said


RUNTIME = "[sig-node] RuntimeClass should schedule a Pod requesting a RuntimeClass "


def of_class(world, **fields):
    """A scheduled pod of a class whose handler the node may not have: upstream's nodes are prepared for it."""
    pods = Pods(world, world.namespace("runtimeclass"))
    classes, name = world.resource("node.k8s.io/v1", "runtimeclasses"), f"{pods.namespace}-preconfigured"
    classes.create({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": meta(name), "handler": "test-handler", **fields})
    world.after(lambda: classes.delete(name))
    pods.create("of-class", pods.container(), runtimeClassName=name)
    return pods.wait("of-class", "is scheduled", lambda pod: pod["spec"].get("nodeName"))


@behaviour(RUNTIME + "without PodOverhead [NodeConformance]")
def no_overhead(world):
    assert not of_class(world)["spec"].get("overhead")


@behaviour(RUNTIME + "and initialize its Overhead [NodeConformance]")
def overhead(world):
    wanted = {"cpu": "10m", "memory": "1Mi"}
    equal(of_class(world, overhead={"podFixed": wanted})["spec"]["overhead"], wanted)


@behaviour("[sig-node] ImageVolume should succeed with pod and pull policy of Always [LinuxOnly] [MinimumKubeletVersion:1.35]")
def image_volume(world):
    pods = Pods(world, world.namespace("image-volume"))
    volume = {"name": "volume", "image": {"reference": world.image, "pullPolicy": "Always"}}
    container = pods.container(volumeMounts=[{"name": "volume", "mountPath": "/mnt"}])
    pods.create("of-image", container, volumes=[volume])
    pods.ready("of-image")
    said = pods.exec("of-image", "cat /mnt/etc/group; touch /mnt/file 2>&1")
    assert "root:x:0:" in said and "Read-only file system" in said, said
    eventually("its content can be read", lambda: "busybox" in pods.exec("of-image", "ls /mnt/bin"), 10)
