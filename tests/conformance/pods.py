"""Pods with containers: their documents, their ends, what they say and what is run in them."""

import json

from client import meta
from kubernetes import client, config
from kubernetes.stream import stream
from workloads import until


class Pods:
    """The pods of a namespace, whose containers run the world's image."""

    def __init__(self, world, namespace):
        self.world, self.namespace = world, namespace
        self.resource = world.resource("v1", "pods", namespace)

    def container(self, command=None, name="main", **spec):
        """One that runs a line of shell, or stays."""
        arguments = {"command": ["/bin/sh", "-c", command]} if command else {}
        return {"name": name, "image": self.world.image, **arguments, **spec}

    def body(self, name, *containers, labels=None, annotations=None, **spec):
        spec.setdefault("terminationGracePeriodSeconds", 1)
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, labels), "spec": {"containers": list(containers), **spec}}
        if annotations:
            document["metadata"]["annotations"] = annotations
        return document

    def create(self, name, *containers, **options):
        return self.resource.create(self.body(name, *containers, **options))

    def wait(self, name, what, holds, seconds=60):
        """The pod, once it is so."""
        return until(self.resource, name, what, holds, seconds)

    def ready(self, name, seconds=60):
        return self.wait(name, "is ready", lambda pod: condition(pod, "Ready") == "True", seconds)

    def phase(self, name, phase, seconds=60):
        return self.wait(name, phase, lambda pod: pod["status"].get("phase") == phase, seconds)

    def says(self, name, *containers, **options):
        """What the first container says of a pod that is to succeed."""
        self.create(name, *containers, restartPolicy="Never", **options)
        pod = self.wait(name, "ends", lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"))
        said = self.logs(name, pod["spec"]["containers"][0]["name"])
        assert pod["status"]["phase"] == "Succeeded", f"{said}: {json.dumps(pod['status'])}"
        return said

    def logs(self, name, container=None, **options):
        answer = self.world.api.raw("GET", self.resource.of(name, "log"), container=container, **options)
        assert answer.status == 200, answer.data
        return answer.data.decode(errors="replace")

    def exec(self, name, command, container=None):
        """What a line of shell says on both streams."""
        core = client.CoreV1Api(config.new_client_from_config(self.world.api.kubeconfig))
        options = {"container": container} if container else {}
        streams = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
        arguments = ["/bin/sh", "-c", command]
        return stream(core.connect_get_namespaced_pod_exec, name, self.namespace, command=arguments, **streams, **options)


def condition(pod, kind):
    conditions = pod["status"].get("conditions") or []
    return next((found["status"] for found in conditions if found["type"] == kind), None)
