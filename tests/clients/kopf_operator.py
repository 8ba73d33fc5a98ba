"""A small operator on PyPI's `kopf`: each `Greeting` gets a ConfigMap of its own, and tells in its status what it did."""

import kopf
from kubernetes import client, config

GROUP, VERSION, PLURAL = "tests.mizzen.dev", "v1", "greetings"


@kopf.on.startup()
def connect(settings, **_):
    config.load_kube_config()
    settings.persistence.finalizer = "tests.mizzen.dev/kopf"


def config_map(name, text):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


@kopf.on.create(GROUP, VERSION, PLURAL)
def create(spec, name, namespace, patch, **_):
    body = config_map(name, spec["text"])
    kopf.adopt(body)
    client.CoreV1Api().create_namespaced_config_map(namespace, body)
    patch.status["said"] = spec["text"]
    return {"map": name}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.text")
def update(old, new, name, namespace, patch, **_):
    client.CoreV1Api().patch_namespaced_config_map(name, namespace, {"data": {"text": new, "before": old}})
    patch.status["said"] = new


@kopf.on.delete(GROUP, VERSION, PLURAL)
def delete(name, namespace, **_):
    client.CoreV1Api().create_namespaced_config_map(namespace, config_map(f"{name}-was-here", "goodbye"))
