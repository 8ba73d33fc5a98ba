"""Pods while they run, through the API: updates, statuses, ephemeral containers, generations, and streams over websockets."""

import time

import websocket
from client import MERGE, STRATEGIC, equal, eventually
from kubernetes import config
from pods import Pods, condition
from registry import behaviour

PODS = "[sig-node] Pods should "


@behaviour(PODS + "be updated [NodeConformance]")
def updated(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod-update", pods.container(), labels={"name": "foo", "time": "before"})
    pods.ready("pod-update")
    equal(pods.resource.names(labelSelector="time=before"), ["pod-update"])
    pods.resource.change("pod-update", lambda pod: pod["metadata"]["labels"].update(time="after"))
    pods.phase("pod-update", "Running")
    equal(pods.resource.names(labelSelector="time=after"), ["pod-update"])


@behaviour(PODS + "patch a pod status")
def status_patch(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod", pods.container(), labels={"pod": "pod"})
    pods.phase("pod", "Running")
    body = {"status": {"message": "Patched by e2e test", "reason": "E2E"}}
    patched = pods.resource.patch("pod", body, "status", kind=STRATEGIC)
    equal((patched["status"].get("message"), patched["status"].get("reason")), ("Patched by e2e test", "E2E"))


# A program that ends as soon as it is asked to, as that of upstream's image does: the pod must be seen ready nevertheless while
# a container of another image takes its place.
ENDS_AT_ONCE = ["/bin/python3", "-c", "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); signal.pause()"]
READY = ("Ready", "ContainersReady")


@behaviour(PODS + "run through the lifecycle of Pods and PodStatus")
def lifecycle(world):
    pods = Pods(world, world.namespace("pods"))
    watch = pods.resource.watch(labelSelector="test-pod-static=true")
    pods.create("pod-test", {**pods.container(), "command": ENDS_AT_ONCE}, labels={"test-pod-static": "true"})
    watch.until(lambda event: event["object"]["status"].get("phase") == "Running")
    digest = pods.resource.get("pod-test")["status"]["containerStatuses"][0]["imageID"]
    assert digest != world.image, digest
    body = {"metadata": {"labels": {"test-pod": "patched"}}, "spec": {"containers": [{"name": "main", "image": digest}]}}
    pods.resource.patch("pod-test", body, kind=STRATEGIC)
    watch.until(lambda event: event["type"] == "MODIFIED" and event["object"]["metadata"]["labels"].get("test-pod") == "patched")
    found = pods.resource.get("pod-test")
    equal(found["spec"]["containers"][0]["image"], digest)

    def unready(pod):
        equal((pod["metadata"]["uid"], *(condition(pod, kind) for kind in READY)), (found["metadata"]["uid"], "True", "True"))
        for one in pod["status"]["conditions"]:
            if one["type"] in READY:
                one["status"] = "False"

    answer = pods.resource.change("pod-test", unready, "status")
    equal([condition(answer, kind) for kind in READY], ["False", "False"])
    watch.until(lambda event: event["type"] == "MODIFIED" and condition(event["object"], "Ready") == "False")
    pods.wait("pod-test", "runs the other image and is ready", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1 and condition(pod, "Ready") == "True")
    pods.resource.delete_collection(labelSelector="test-pod-static=true")
    watch.until(lambda event: event["type"] == "DELETED")
    watch.close()


EPHEMERAL = "[sig-node] Ephemeral Containers [NodeConformance] "


def debugger(world, name):
    polo = ["/bin/sh", "-c", "while true; do echo polo; sleep 2; done"]
    return {"name": name, "image": world.image, "command": polo, "stdin": True, "tty": True}


def runs(pods, name):
    def holds(pod):
        found = {status["name"]: status for status in pod["status"].get("ephemeralContainerStatuses") or []}
        return "running" in found.get(name, {}).get("state", {})

    pods.wait("pod", f"runs the ephemeral container {name}", holds)
    eventually("its log", lambda: "polo" in pods.logs("pod", name), 60)


@behaviour(EPHEMERAL + "will start an ephemeral container in an existing pod")
def ephemeral(world):
    pods = Pods(world, world.namespace("ephemeral-containers-test"))
    pods.create("pod", pods.container())
    pods.ready("pod")
    body = {"spec": {"ephemeralContainers": [debugger(world, "debugger")]}}
    pods.resource.patch("pod", body, "ephemeralcontainers", kind=STRATEGIC)
    runs(pods, "debugger")


@behaviour(EPHEMERAL + "should update the ephemeral containers in an existing pod")
def more_ephemeral(world):
    pods = Pods(world, world.namespace("ephemeral-containers-test"))
    pods.create("pod", pods.container())
    pods.ready("pod")
    pods.resource.patch("pod", {"spec": {"ephemeralContainers": [debugger(world, "debugger1")]}}, "ephemeralcontainers", kind=STRATEGIC)
    runs(pods, "debugger1")
    before = pods.resource.get("pod", "ephemeralcontainers")
    equal([one["name"] for one in before["spec"]["ephemeralContainers"]], ["debugger1"])

    def add(pod):
        pod["spec"]["ephemeralContainers"].append(debugger(world, "debugger2"))

    pods.resource.change("pod", add, "ephemeralcontainers")
    equal([one["name"] for one in pods.resource.get("pod")["spec"]["ephemeralContainers"]], ["debugger1", "debugger2"])
    runs(pods, "debugger2")


GENERATION = "[sig-node] Pods Extended (pod generation) Pod Generation "


@behaviour(GENERATION + "issue 500 podspec updates and verify generation and observedGeneration eventually converge [MinimumKubeletVersion:1.34]")
def generations(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod", pods.container(), activeDeadlineSeconds=5000)
    equal(pods.ready("pod")["metadata"]["generation"], 1)
    for number in range(500):
        pods.resource.patch("pod", {"spec": {"activeDeadlineSeconds": 4999 - number}}, kind=MERGE)
    pod = pods.wait("pod", "has its last generation observed", lambda pod: pod["status"].get("observedGeneration") == 501)
    equal(pod["metadata"]["generation"], 501)
    ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")
    assert ready.get("observedGeneration", 0) >= 1, ready


def opened(world, path, protocol):
    """A websocket as upstream's tests open it: of one old protocol, by the client's own certificate or token."""
    loaded = config.new_client_from_config(world.api.kubeconfig).configuration
    options = {"ca_certs": loaded.ssl_ca_cert, "certfile": loaded.cert_file, "keyfile": loaded.key_file}
    headers = [f"Authorization: {token}"] if (token := loaded.get_api_key_with_prefix("authorization")) else []
    url = loaded.host.replace("https:", "wss:") + path
    found = websocket.create_connection(url, sslopt=options, header=headers, subprotocols=[protocol], timeout=60)
    equal(found.getsubprotocol(), protocol)
    return found


def messages(connection, until):
    """What comes until the wanted is there or the other side closes."""
    said, end = b"", time.monotonic() + 60
    while time.monotonic() < end and until not in said:
        code, message = connection.recv_data()
        if code == websocket.ABNF.OPCODE_CLOSE:
            break
        yield message
        said += message


@behaviour(PODS + "support remote command execution over websockets [NodeConformance]")
def executed(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod", pods.container("echo container is alive; sleep 600"))
    pods.ready("pod")
    query = "stderr=1&stdout=1&container=main&command=echo&command=remote+execution+test"
    connection, said = opened(world, pods.resource.of("pod", "exec") + "?" + query, "channel.k8s.io"), b""
    for message in messages(connection, b"remote execution test\n"):
        # Upstream accepts empty messages of any channel, and others of standard output only.
        assert len(message) <= 1 or message[0] == 1, message
        said += message[1:]
    equal(said, b"remote execution test\n")
    for message in messages(connection, b"never"):
        assert len(message) <= 1, message
    connection.close()


@behaviour(PODS + "support retrieving logs from the container over websockets [NodeConformance]")
def logs(world):
    pods = Pods(world, world.namespace("pods"))
    pods.create("pod", pods.container("echo container is alive; sleep 600"))
    pods.ready("pod")
    connection = opened(world, pods.resource.of("pod", "log") + "?container=main", "binary.k8s.io")
    equal(b"".join(messages(connection, b"container is alive\n")), b"container is alive\n")
    connection.close()
