"""How containers start and end: init containers, exit codes, messages they leave, hooks and deadlines."""

import json

from client import equal, eventually, meta
from pods import Pods, condition
from registry import behaviour

INIT = "[sig-node] InitContainer [NodeConformance] "
HOOK = "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute "
BLACKBOX = "[sig-node] Container Runtime blackbox test "


def statuses(pod, kind="containerStatuses"):
    return {status["name"]: status for status in pod["status"].get(kind) or []}


@behaviour(INIT + "should invoke init containers on a RestartNever pod")
def init_never(world):
    pods = Pods(world, world.namespace("init-container"))
    inits = [pods.container("true", f"init{number}") for number in (1, 2)]
    pods.create("pod", pods.container("true", "run1"), initContainers=inits, restartPolicy="Never")
    pod = pods.phase("pod", "Succeeded")
    equal(condition(pod, "Initialized"), "True")
    for status in statuses(pod, "initContainerStatuses").values():
        equal((status["ready"], status["state"]["terminated"]["exitCode"]), (True, 0))


@behaviour(INIT + "should invoke init containers on a RestartAlways pod")
def init_always(world):
    pods = Pods(world, world.namespace("init-container"))
    inits = [pods.container("true", f"init{number}") for number in (1, 2)]
    limits = {"limits": {"cpu": "100m", "memory": "50Mi"}}
    pods.create("pod", pods.container(name="run1", resources=limits), initContainers=inits, restartPolicy="Always")
    pod = pods.phase("pod", "Running")
    equal(condition(pod, "Initialized"), "True")
    for status in statuses(pod, "initContainerStatuses").values():
        equal((status["ready"], status["state"]["terminated"]["exitCode"]), (True, 0))


@behaviour(INIT + "should not start app containers if init containers fail on a RestartAlways pod")
def init_fails_always(world):
    pods = Pods(world, world.namespace("init-container"))
    inits = [pods.container("false", "init1"), pods.container("true", "init2")]
    pods.create("pod", pods.container(name="run1"), initContainers=inits, restartPolicy="Always")

    def again(pod):
        first = statuses(pod, "initContainerStatuses").get("init1", {})
        return first.get("restartCount", 0) >= 3

    pod = pods.wait("pod", "restarts its first init container three times", again, 120)
    equal(pod["status"]["phase"], "Pending")
    equal(condition(pod, "Initialized"), "False")
    found = next(one for one in pod["status"]["conditions"] if one["type"] == "Initialized")
    equal((found["reason"], found["message"]), ("ContainersNotInitialized", "containers with incomplete status: [init1 init2]"))
    waiting = [statuses(pod, "initContainerStatuses")["init2"], statuses(pod)["run1"]]
    for status in waiting:
        equal((status["state"]["waiting"]["reason"], status.get("containerID", "")), ("PodInitializing", ""))


@behaviour(INIT + "should not start app containers and fail the pod if init containers fail on a RestartNever pod")
def init_fails_never(world):
    pods = Pods(world, world.namespace("init-container"))
    inits = [pods.container("true", "init1"), pods.container("false", "init2")]
    pods.create("pod", pods.container("true", "run1"), initContainers=inits, restartPolicy="Never")
    pod = pods.phase("pod", "Failed")
    found = next(one for one in pod["status"]["conditions"] if one["type"] == "Initialized")
    equal((found["status"], found["reason"]), ("False", "ContainersNotInitialized"))
    equal(found["message"], "containers with incomplete status: [init2]")
    inits = statuses(pod, "initContainerStatuses")
    equal(inits["init1"]["state"]["terminated"]["exitCode"], 0)
    assert inits["init2"]["state"]["terminated"]["exitCode"] != 0
    equal(statuses(pod)["run1"]["state"]["waiting"]["reason"], "PodInitializing")


@behaviour(BLACKBOX + "when starting a container that exits should run with the expected status [NodeConformance]")
def exits(world):
    pods = Pods(world, world.namespace("container-runtime"))
    script = """f=/restart-count/restartCount; n=$(cat $f 2>/dev/null || echo 0); n=$((n+1)); echo $n > $f; """
    for policy, then, phase, restarts, ready in (
        ("Always", "if [ $n -eq 1 ]; then exit 1; elif [ $n -eq 2 ]; then exit 0; fi; while true; do sleep 1; done", "Running", 2, True),
        ("OnFailure", "if [ $n -eq 1 ]; then exit 1; fi; exit 0", "Succeeded", 1, False),
        ("Never", "exit 1", "Failed", 0, False),
    ):
        name = f"terminate-cmd-{policy.lower()}"
        mount = [{"name": "restart-count", "mountPath": "/restart-count"}]
        container = pods.container(script + then, name, volumeMounts=mount)
        pods.create(name, container, restartPolicy=policy, volumes=[{"name": "restart-count", "emptyDir": {"medium": "Memory"}}])

        def as_wanted(pod):
            status = statuses(pod).get(name, {})
            return pod["status"]["phase"] == phase and status.get("restartCount") == restarts and status["ready"] == ready

        pod = pods.wait(name, f"is {phase} after {restarts} restarts", as_wanted, 120)
        state = statuses(pod)[name]["state"]
        equal("running" in state, ready)
        pods.resource.delete(name)


def message(world, expected, exit_code=0, **spec):
    pods = Pods(world, world.namespace("container-runtime"))
    pods.create("termination-message", pods.container(name="termination-message-container", **spec), restartPolicy="Never")
    pod = pods.wait("termination-message", "ends", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    state = statuses(pod)["termination-message-container"]["state"]["terminated"]
    equal((state.get("message", ""), state["exitCode"]), (expected, exit_code))


def ended(title, expected, command, exit_code=0, **spec):
    @behaviour(BLACKBOX + "on terminated container should report termination message " + title)
    def told(world):
        pods_command = {"command": command} if isinstance(command, str) else {}
        message(world, expected, exit_code, **pods_command, **spec)


FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}
ended("from log output if TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]", "DONE", "echo -n DONE; false", 1, **FALLBACK)
ended("as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]", "", "echo -n DONE", **FALLBACK)
ended(
    "from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]",
    "OK", "echo -n OK > /dev/termination-log; echo DONE", **FALLBACK,
)
ended(
    "if TerminationMessagePath is set as non-root user and at a non-default path [NodeConformance]",
    "DONE", "echo -n DONE > /dev/termination-custom-log", terminationMessagePath="/dev/termination-custom-log", securityContext={"runAsUser": 1000},
)


def hook(kind, via):
    @behaviour(HOOK + f"{kind.lower()} {via} hook properly [NodeConformance]")
    def hooked(world):
        pods = Pods(world, world.namespace("container-lifecycle-hook"))
        serve = "mkdir /www; echo > /www/echo; exec httpd -f -vv -p 8080 -h /www"
        listens = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
        pods.create("handler", pods.container(serve, ports=[{"containerPort": 8080}], readinessProbe=listens))
        address = pods.ready("handler")["status"]["podIP"]
        # A sidecar passes on what the hook asks the pod itself for.
        redirect = {"name": "redirect", "image": world.image, "command": ["/bin/python3", "/served/netexec.py", "http=8080"], "restartPolicy": "Always"}
        redirect["startupProbe"] = {"httpGet": {"path": "/echo?msg=startup", "port": 8080}, "periodSeconds": 1, "failureThreshold": 30}
        by_http = {"httpGet": {"path": f"/dial?host={address}&port=8080&request=echo%3Fmsg%3Dhook", "port": 8080}}
        by_exec = {"exec": {"command": ["sh", "-c", f"wget -q -O - 'http://{address}:8080/echo?msg=hook' || true"]}}
        lifecycle = {"postStart" if kind == "poststart" else "preStop": by_http if via == "http" else by_exec}
        pods.create("hooked", pods.container(lifecycle=lifecycle), initContainers=[redirect] if via == "http" else [], terminationGracePeriodSeconds=30)
        pods.ready("hooked")
        if kind == "prestop":
            pods.resource.delete("hooked", gracePeriodSeconds=15)
            eventually("it is gone", lambda: not pods.resource.exists("hooked"), 60)
        eventually("the hook is seen", lambda: "url:/echo" in pods.logs("handler"), 30)


for kind in ("poststart", "prestop"):
    for via in ("exec", "http"):
        hook(kind, via)


@behaviour("[sig-node] PreStop should call prestop when killing a pod")
def prestop(world):
    hooked = Pods(world, world.namespace("prestop"))
    mounts = {"volumeMounts": [{"name": "told", "mountPath": "/told"}]}
    volumes = [{"name": "told", "hostPath": {"path": f"/tmp/{hooked.namespace}", "type": "DirectoryOrCreate"}}]
    lifecycle = {"preStop": {"exec": {"command": ["sh", "-c", "echo called > /told/prestop"]}}}
    hooked.create("tester", hooked.container(lifecycle=lifecycle, **mounts), volumes=volumes)
    node = hooked.ready("tester")["spec"]["nodeName"]
    hooked.create("server", hooked.container(**mounts), volumes=volumes, nodeName=node)
    hooked.ready("server")
    hooked.resource.delete("tester")
    eventually("it is called", lambda: "called" in hooked.exec("server", "cat /told/prestop; true"), 60)
    hooked.exec("server", "rm -r /told/*")


@behaviour("[sig-node] Pods should allow activeDeadlineSeconds to be updated [NodeConformance]")
def deadline(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod", pods.container())
    pods.phase("pod", "Running")
    pods.resource.change("pod", lambda pod: pod["spec"].update(activeDeadlineSeconds=5))
    pod = pods.phase("pod", "Failed", 60)
    equal(pod["status"].get("reason"), "DeadlineExceeded")


KUBELET = "[sig-node] Kubelet when scheduling a "


@behaviour(KUBELET + "busybox command in a pod should print the output to logs [NodeConformance]")
def printed(world):
    pods = Pods(world, world.namespace("kubelet-test"))
    equal(pods.says("busybox", pods.container("echo 'Hello World' ; sleep 1")), "Hello World\n")


@behaviour(KUBELET + "busybox command that always fails in a pod should have an terminated reason [NodeConformance]")
def reason(world):
    pods = Pods(world, world.namespace("kubelet-test"))
    pods.create("bin-false", pods.container("/bin/false"), restartPolicy="Never")
    pod = pods.wait("bin-false", "has ended", lambda pod: "terminated" in next(iter(statuses(pod).values()), {}).get("state", {}))
    state = next(iter(statuses(pod).values()))["state"]["terminated"]
    assert state["exitCode"] != 0 and state["reason"] == "Error", json.dumps(state)


@behaviour(KUBELET + "busybox command that always fails in a pod should be possible to delete [NodeConformance]")
def deleted(world):
    pods = Pods(world, world.namespace("kubelet-test"))
    pods.create("bin-false", pods.container("/bin/false"), restartPolicy="Never")
    pods.resource.delete("bin-false")
    eventually("it is gone", lambda: not pods.resource.exists("bin-false"), 60)


@behaviour(KUBELET + "read only busybox container should not write to root filesystem [LinuxOnly] [NodeConformance]")
def read_only(world):
    pods = Pods(world, world.namespace("kubelet-test"))
    container = pods.container("echo test > /file; sleep 1", securityContext={"readOnlyRootFilesystem": True})
    pods.create("busybox", container, restartPolicy="Never")
    pods.wait("busybox", "has ended", lambda pod: pod["status"]["phase"] in ("Failed", "Succeeded"))
    equal(pods.logs("busybox"), "/bin/sh: can't create /file: Read-only file system\n")


@behaviour(KUBELET.replace("a ", "an ") + "agnhost Pod with hostAliases should write entries to /etc/hosts [NodeConformance]")
def aliases(world):
    pods = Pods(world, world.namespace("kubelet-test"))
    said = pods.says("aliases", pods.container("cat /etc/hosts"), hostAliases=[{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}])
    assert "123.45.67.89\tfoo\tbar" in said and "# Entries added by HostAliases." in said, said


@behaviour("[sig-node] KubeletManagedEtcHosts should test kubelet managed /etc/hosts file [NodeConformance]")
def hosts(world):
    pods = Pods(world, world.namespace("etc-hosts"))
    own = {"name": "host-etc-hosts", "mountPath": "/etc/hosts"}
    volumes = [{"name": "host-etc-hosts", "hostPath": {"path": "/etc/hosts"}}]
    three = [pods.container(name=f"busybox-{number}") for number in (1, 2)] + [pods.container(name="busybox-3", volumeMounts=[own])]
    pods.create("test-pod", *three, volumes=volumes)
    host = [pods.container(name=f"busybox-{number}") for number in (1, 2)]
    pods.create("test-host-network-pod", *host, hostNetwork=True)
    for name in ("test-pod", "test-host-network-pod"):
        pods.ready(name)
    managed = "# Kubernetes-managed hosts file."
    for number, wanted in ((1, True), (2, True), (3, False)):
        equal(managed in pods.exec("test-pod", "cat /etc/hosts", f"busybox-{number}"), wanted)
    for number in (1, 2):
        # The host's own file, with the heading for hostNetwork.
        said = pods.exec("test-host-network-pod", "cat /etc/hosts", f"busybox-{number}")
        assert managed + "\n" not in said, said


@behaviour("[sig-node] Pods should be submitted and removed [NodeConformance]")
def submitted(world):
    pods = Pods(world, world.namespace("pods"))
    watch = pods.resource.watch(labelSelector="time=now", resourceVersion=pods.resource.list()["metadata"]["resourceVersion"])
    pods.create("submit-remove", pods.container(), labels={"time": "now"}, terminationGracePeriodSeconds=30)
    equal(watch.next()["type"], "ADDED")
    pods.phase("submit-remove", "Running")
    pods.resource.delete("submit-remove", gracePeriodSeconds=30)
    last = None
    while last is None or last["type"] != "DELETED":
        last = watch.next(60)
    assert last["object"]["metadata"].get("deletionTimestamp"), last
    assert last["object"]["spec"]["terminationGracePeriodSeconds"] != 0, last
    equal(pods.resource.names(), [])


@behaviour("[sig-node] Pods should delete a collection of pods")
def collection(world):
    pods = Pods(world, world.namespace("pods"))
    for number in (1, 2, 3):
        pods.create(f"test-pod-{number}", pods.container(), labels={"type": "Testing"})
    eventually("all run", lambda: all(pod["status"]["phase"] == "Running" for pod in pods.resource.list()["items"]))
    pods.resource.delete_collection({"gracePeriodSeconds": 1}, labelSelector="type=Testing")
    eventually("all are gone", lambda: not pods.resource.names(labelSelector="type=Testing"), 60)


@behaviour("[sig-node] Pods should get a host IP [NodeConformance]")
def host_ip(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod-hostip", pods.container())
    pod = pods.wait("pod-hostip", "has a host's address", lambda pod: pod["status"].get("hostIP"))
    nodes = world.resource("v1", "nodes")
    addresses = {one["address"] for one in nodes.get(pod["spec"]["nodeName"])["status"]["addresses"]}
    assert pod["status"]["hostIP"] in addresses
    equal(pod["status"]["hostIPs"][0]["ip"], pod["status"]["hostIP"])


@behaviour("[sig-node] Pods should contain environment variables for services [NodeConformance]")
def services(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("server-envvars", pods.container(), labels={"name": "server-envvars"})
    pods.ready("server-envvars")
    spec = {"ports": [{"port": 8765, "targetPort": 8080}], "selector": {"name": "server-envvars"}}
    world.resource("v1", "services", pods.namespace).create({"metadata": meta("fooservice", {"name": "fooservice"}), "spec": spec})
    names = ["HOST", "PORT", "PORT_8765_TCP_PORT", "PORT_8765_TCP_PROTO", "PORT_8765_TCP", "PORT_8765_TCP_ADDR"]
    wanted = ["FOOSERVICE_SERVICE_HOST=", "FOOSERVICE_SERVICE_PORT=", "FOOSERVICE_PORT="] + [f"FOOSERVICE_{name}=" for name in names[2:]]

    number = iter(range(100))

    def told():
        said = pods.says(f"client-envvars-{next(number)}", pods.container("env"))
        return all(name in said for name in wanted)

    eventually("the service's variables", told, 60, 1)
