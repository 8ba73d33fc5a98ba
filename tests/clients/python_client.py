"""What people's scripts do with PyPI's `kubernetes`, against the cluster of the kubeconfig given. Arguments: kubeconfig, image."""

import sys
import time

import websocket
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream


def until(what, look, seconds=120):
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def heard(core, path, protocol):
    """All messages of a WebSocket with a subprotocol, until the server closes it."""
    own = core.api_client.configuration
    files = {"ca_certs": own.ssl_ca_cert, "certfile": own.cert_file, "keyfile": own.key_file}
    url = own.host.replace("https://", "wss://") + path
    socket = websocket.create_connection(url, subprotocols=[protocol], sslopt=files, timeout=120)
    assert socket.subprotocol == protocol, socket.subprotocol
    messages = []
    while True:
        opcode, data = socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return messages
        messages.append(data)


def main(kubeconfig, image):
    config.load_kube_config(kubeconfig)
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    assert client.VersionApi().get_code().major == "1"

    # create, read, list with a selector, and typed answers
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="python")))
    made = core.create_namespaced_config_map(
        "python", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c", labels={"a": "b"}), data={"k": "v"})
    )
    assert made.metadata.creation_timestamp.tzinfo is not None
    assert [c.metadata.name for c in core.list_namespaced_config_map("python", label_selector="a=b").items] == ["c"]

    # patch and optimistic concurrency
    patched = core.patch_namespaced_config_map("c", "python", {"data": {"k": "w", "l": "x"}})
    assert patched.data == {"k": "w", "l": "x"}, patched.data
    made.data = {"k": "lost update"}
    try:
        core.replace_namespaced_config_map("c", "python", made)
        raise AssertionError("an old resourceVersion should conflict")
    except ApiException as error:
        assert error.status == 409, error

    # pages
    for number in range(5):
        core.create_namespaced_secret("python", client.V1Secret(metadata=client.V1ObjectMeta(name=f"s{number}")))
    names, token = [], None
    while token != "":
        page = core.list_namespaced_secret("python", limit=2, _continue=token)
        assert len(page.items) <= 2
        names += [secret.metadata.name for secret in page.items]
        token = page.metadata._continue or ""
    assert names == [f"s{number}" for number in range(5)], names

    # a watch sees the pod of a deployment come up
    version = core.list_namespaced_pod("python").metadata.resource_version
    container = client.V1Container(name="web", image=image, command=["sh", "-c", "echo started; exec httpd -f -p 8080 -h /www"])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "web"}),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0),
    )
    spec = client.V1DeploymentSpec(replicas=1, selector={"matchLabels": {"app": "web"}}, template=template)
    apps.create_namespaced_deployment("python", client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec))
    pod, kinds = None, set()
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_pod, "python", resource_version=version, timeout_seconds=120):
        kinds.add(event["type"])
        if any(c.type == "Ready" and c.status == "True" for c in event["object"].status.conditions or []):
            pod = event["object"].metadata.name
            watcher.stop()
    assert pod and kinds == {"ADDED", "MODIFIED"}, (pod, kinds)

    # logs, exec with an exit code and with standard input
    until("the log is there", lambda: core.read_namespaced_pod_log(pod, "python") == "started\n")
    exec_pod = core.connect_get_namespaced_pod_exec
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    session = stream(exec_pod, pod, "python", command=command, stderr=True, stdout=True, _preload_content=False)
    session.run_forever(timeout=120)
    assert (session.read_stdout(), session.read_stderr(), session.returncode) == ("out\n", "err\n", 3)
    session = stream(exec_pod, pod, "python", command=["cat"], stdin=True, stdout=True, _preload_content=False)
    session.write_stdin("typed\n")
    assert session.readline_stdout(timeout=120) == "typed"
    session.close()

    # the oldest streams: output alone, without a word on how it ended, and a log as it is
    path = f"/api/v1/namespaces/python/pods/{pod}"
    messages = heard(core, f"{path}/exec?stdout=1&stderr=1&command=echo&command=out", "channel.k8s.io")
    assert {message[:1] for message in messages} == {b"\1"} and b"".join(m[1:] for m in messages) == b"out\n", messages
    messages = heard(core, f"{path}/exec?stdout=1&command=false", "channel.k8s.io")
    assert messages[-1].startswith(b"\3command terminated with non-zero exit code"), messages
    assert b"".join(heard(core, f"{path}/log", "binary.k8s.io")) == b"started\n"

    # scale, and delete what owns pods
    apps.patch_namespaced_deployment_scale("web", "python", {"spec": {"replicas": 2}})
    assert apps.read_namespaced_deployment_scale("web", "python").spec.replicas == 2
    apps.delete_namespaced_deployment("web", "python", propagation_policy="Foreground")
    core.delete_namespace("python")
    gone = watch.Watch()
    for event in gone.stream(core.list_namespace, field_selector="metadata.name=python", timeout_seconds=120):
        if event["type"] == "DELETED":
            gone.stop()
    try:
        core.read_namespace("python")
        raise AssertionError("the namespace should be gone")
    except ApiException as error:
        assert error.status == 404 and '"reason":"NotFound"' in error.body, error.body
    print("all right")


if __name__ == "__main__":
    main(*sys.argv[1:])
