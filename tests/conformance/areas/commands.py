"""kubectl's own behaviours."""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import tempfile

from client import equal, eventually
from kubectl import kubectl
from registry import behaviour

TITLE = "[sig-cli] Kubectl client "


@behaviour(TITLE + "Kubectl api-versions should check if v1 is in available api versions")
def api_versions(world):
    assert "v1" in kubectl(world, "api-versions").split()


@behaviour(TITLE + "Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info")
def cluster_info(world):
    said = re.sub(r"\x1b\[[0-9;]*m", "", kubectl(world, "cluster-info"))
    assert "Kubernetes control plane is running at" in said, said


@behaviour(TITLE + "Kubectl version should check is all data is printed")
def version(world):
    said = kubectl(world, "version", "-o", "yaml")
    for side in ("clientVersion", "serverVersion"):
        part = said.split(f"{side}:")[1]
        for field in ("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"):
            assert f"{field}:" in part, f"{field} is not in {part}"
    short = kubectl(world, "version")
    assert "Client Version:" in short and "Server Version:" in short, short


@behaviour(TITLE + "Kubectl diff should check if kubectl diff finds a difference for Deployments")
def diff(world):
    namespace = world.namespace("kubectl")
    container = {"name": "httpd", "image": "example.com/agnhost:1"}
    template = {"metadata": {"labels": {"app": "httpd"}}, "spec": {"containers": [container]}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "httpd-deployment"}}
    body["spec"] = {"replicas": 1, "selector": {"matchLabels": {"app": "httpd"}}, "template": template}
    kubectl(world, "-n", namespace, "create", "-f", "-", input=json.dumps(body))
    container["image"] = "example.com/busybox:1"
    said = kubectl(world, "-n", namespace, "diff", "-f", "-", input=json.dumps(body), codes=(1,))
    assert re.search(r"^-\s+- image: example.com/agnhost:1", said, re.M), said
    assert re.search(r"^\+\s+- image: example.com/busybox:1", said, re.M), said


@contextlib.contextmanager
def proxy(world, *arguments):
    command = ["kubectl", "--kubeconfig", world.api.kubeconfig, "proxy", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline()
    finally:
        process.kill()
        process.wait()


def versions(connection):
    connection.request("GET", "/api/")
    return json.loads(connection.getresponse().read())["versions"]


@behaviour(TITLE + "Proxy server should support proxy with --port 0")
def proxy_port(world):
    with proxy(world, "--port=0", "--disable-filter") as said:
        port = int(re.search(r"127\.0\.0\.1:(\d+)", said).group(1))
        equal(versions(http.client.HTTPConnection("127.0.0.1", port)), ["v1"])


@behaviour(TITLE + "Proxy server should support --unix-socket=/path")
def proxy_socket(world):
    with tempfile.TemporaryDirectory() as folder, proxy(world, f"--unix-socket={folder}/test") as said:
        assert "Starting to serve on" in said, said
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        eventually("the socket answers", lambda: connection.sock.connect_ex(f"{folder}/test") == 0)
        equal(versions(connection), ["v1"])
