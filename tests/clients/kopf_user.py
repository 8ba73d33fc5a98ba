"""What a user of `kopf_operator.py` does and sees. Arguments: kubeconfig, operator."""

import os
import subprocess
import sys
import time

from kubernetes import client, config
from kubernetes.client.rest import ApiException

GROUP, VERSION, PLURAL = "tests.mizzen.dev", "v1", "greetings"
SPEC = {"type": "object", "properties": {"text": {"type": "string"}}}
STATUS = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": "greeting", "kind": "Greeting", "listKind": "GreetingList"},
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}},
            }
        ],
    },
}


def until(what, look, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = look()
            if found:
                return found
        except ApiException as error:
            if error.status != 404:
                raise
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def is_gone(read):
    try:
        read()
        return False
    except ApiException as error:
        if error.status != 404:
            raise
        return True


def scenario():
    core, custom = client.CoreV1Api(), client.CustomObjectsApi()
    greetings = (GROUP, VERSION, "default", PLURAL)
    read = lambda: custom.get_namespaced_custom_object(*greetings, "hello")  # noqa: E731
    read_map = lambda name="hello": core.read_namespaced_config_map(name, "default")  # noqa: E731
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Greeting", "metadata": {"name": "hello"}, "spec": {"text": "hello"}}
    custom.create_namespaced_custom_object(*greetings, body)

    made = until("the status tells of the creation", lambda: read() if read().get("status", {}).get("said") == "hello" else None)
    assert made["metadata"]["finalizers"] == ["tests.mizzen.dev/kopf"], made
    assert made["status"]["create"] == {"map": "hello"}, made
    assert read_map().data == {"text": "hello"}
    assert read_map().metadata.owner_references[0].uid == made["metadata"]["uid"]

    custom.patch_namespaced_custom_object(*greetings, "hello", {"spec": {"text": "good day"}})
    until("the status tells of the update", lambda: read()["status"]["said"] == "good day")
    assert read_map().data == {"text": "good day", "before": "hello"}

    custom.delete_namespaced_custom_object(*greetings, "hello")
    until("the finalizer lets it go", lambda: is_gone(read))
    assert read_map("hello-was-here").data == {"text": "goodbye"}
    until("its map goes with it", lambda: is_gone(read_map))


def main(kubeconfig, operator):
    config.load_kube_config(kubeconfig)
    definitions = client.ApiextensionsV1Api()
    definitions.create_custom_resource_definition(DEFINITION)
    status = lambda: definitions.read_custom_resource_definition(DEFINITION["metadata"]["name"]).status  # noqa: E731
    until("the kind is established", lambda: any(c.type == "Established" and c.status == "True" for c in status().conditions or []))
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace=default", operator]
    process = subprocess.Popen(command, env={**os.environ, "KUBECONFIG": kubeconfig})
    try:
        scenario()
    finally:
        process.terminate()
        process.wait()
    print("all right")


main(*sys.argv[1:])
