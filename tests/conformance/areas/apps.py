"""Workloads as objects, and what their controllers do without running anything."""

import time

from client import STRATEGIC, equal, eventually, meta, refused
from lifecycle import lifecycle, status_lifecycle
from registry import behaviour, unique

IMAGE = "registry.k8s.io/pause:3.10"


def template(labels, **spec):
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": IMAGE}], **spec}}


def cron_job(name, schedule="*/1 * * * ?", **spec):
    job = {"spec": {"template": {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "c", "image": IMAGE}]}}}}
    spec = {"schedule": schedule, "concurrencyPolicy": "Allow", "jobTemplate": job, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta(name), "spec": spec}


@behaviour("[sig-apps] CronJob should support CronJob API operations")
def cron_jobs(world):
    namespace = world.namespace("cronjob")
    lifecycle(world, "batch/v1", "cronjobs", cron_job("e2e-example", "* */6 * * *"), namespace, patch={"spec": {"suspend": True}})
    patch = {"lastScheduleTime": "2024-01-01T00:00:00Z"}
    changed = lambda status: status["lastScheduleTime"] == "2024-01-01T00:00:00Z"  # noqa: E731
    status_lifecycle(world, "batch/v1", "cronjobs", cron_job("status", suspend=True), patch, changed, namespace)


@behaviour("[sig-apps] CronJob should not schedule jobs when suspended [Slow]")
def suspended(world):
    """The suite waits five minutes; a schedule that falls due once within the span shows it too."""
    namespace = world.namespace("cronjob")
    world.resource("batch/v1", "cronjobs", namespace).create(cron_job("suspended", suspend=True))
    time.sleep(62 - time.time() % 60)
    equal(world.resource("batch/v1", "jobs", namespace).list()["items"], [])


def budget(name, labels=None, **spec):
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta(name, labels)}
    return {**body, "spec": {"selector": {"matchLabels": {"foo": "bar"}}, "minAvailable": "1%", **spec}}


def budgets(world):
    return world.resource("policy/v1", "poddisruptionbudgets", world.namespace("disruption"))


def processed(resource, name):
    def observed():
        found = resource.get(name)
        return found.get("status", {}).get("observedGeneration", 0) >= found["metadata"]["generation"] and found

    return eventually(f"the budget {name} is processed", observed)


@behaviour("[sig-apps] DisruptionController should create a PodDisruptionBudget")
def budget_operations(world):
    resource = budgets(world)
    resource.create(budget("foo"))
    processed(resource, "foo")
    updated = resource.change("foo", lambda body: body["spec"].update(minAvailable="2%"))
    equal(updated["spec"]["minAvailable"], "2%")
    processed(resource, "foo")
    patched = resource.patch("foo", {"spec": {"minAvailable": "3%"}})
    equal(patched["spec"]["minAvailable"], "3%")
    processed(resource, "foo")
    resource.delete("foo")
    assert not resource.exists("foo")


@behaviour("[sig-apps] DisruptionController should update/patch PodDisruptionBudget status")
def budget_status(world):
    resource = budgets(world)
    resource.create(budget("foo", minAvailable=1))
    processed(resource, "foo")
    moment = "2024-01-01T00:00:00Z"
    updated = resource.change("foo", lambda body: body["status"].update(disruptedPods={"pod": moment}), "status")
    equal(updated["status"]["disruptedPods"], {"pod": moment})
    updated = resource.get("foo", "status")
    patch = {"metadata": {"annotations": {"patched": "true"}}, "status": {"disruptedPods": {"pod": None, "other": moment}}}
    equal(resource.patch("foo", patch, "status")["status"]["disruptedPods"], {"other": moment})


@behaviour(
    "[sig-apps] DisruptionController Listing PodDisruptionBudgets for all namespaces should list and delete a collection of PodDisruptionBudgets"
)
def budget_collection(world):
    label = unique("pdb")
    first, second = budgets(world), budgets(world)
    for resource, name in ((first, "foo"), (first, "foo2"), (second, "foo3")):
        resource.create(budget(name, {"conformance": label}))
    selector = {"labelSelector": f"conformance={label}"}
    equal(len(world.resource("policy/v1", "poddisruptionbudgets").list(**selector)["items"]), 3)
    equal(first.names(**selector), ["foo", "foo2"])
    first.delete_collection(**selector)
    equal((first.names(**selector), second.names(**selector)), ([], ["foo3"]))


@behaviour("[sig-apps] ReplicationController should surface a failure condition on a common issue like exceeded quota")
def exceeded_quota(world):
    namespace, labels = world.namespace("replication-controller"), {"name": "condition-test"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta("condition-test"), "spec": {"hard": {"pods": "2"}}}
    quotas = world.resource("v1", "resourcequotas", namespace)
    quotas.create(quota)
    eventually("the quota is known", lambda: quotas.get("condition-test").get("status", {}).get("hard", {}).get("pods") == "2")
    body = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": meta("condition-test")}
    body["spec"] = {"replicas": 3, "selector": labels, "template": template(labels)}
    controllers = world.resource("v1", "replicationcontrollers", namespace)
    controllers.create(body)

    def failing():
        found = controllers.get("condition-test")
        current = found["status"].get("observedGeneration", 0) >= found["metadata"]["generation"]
        return current and "ReplicaFailure" in [c["type"] for c in found["status"].get("conditions", [])]

    eventually("the failure is surfaced", failing)
    controllers.change("condition-test", lambda found: found["spec"].update(replicas=2))
    eventually("the failure is gone", lambda: not failing())


@behaviour("[sig-apps] ReplicaSet should list and delete a collection of ReplicaSets")
def replica_sets(world):
    resource, labels = world.resource("apps/v1", "replicasets", world.namespace("replicaset")), {"name": "sample-pod", "pod": "httpd"}
    body = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta("test-rs", {"test-rs": "patched", **labels})}
    body["spec"] = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template(labels)}
    resource.create(body)
    eventually("all replicas are available", lambda: resource.get("test-rs")["status"].get("availableReplicas") == 3)
    equal(len(world.resource("apps/v1", "replicasets").list(labelSelector="test-rs=patched")["items"]), 1)
    resource.delete_collection(labelSelector="test-rs=patched")
    eventually("it is gone", lambda: not resource.list(labelSelector="test-rs=patched")["items"])


@behaviour("[sig-apps] ControllerRevision [Serial] should manage the lifecycle of a ControllerRevision", serial=True)
def controller_revisions(world):
    namespace, label = world.namespace("controllerrevisions"), unique("daemonset")
    sets, revisions = (world.resource("apps/v1", plural, namespace) for plural in ("daemonsets", "controllerrevisions"))
    selector = {"labelSelector": f"daemonset-name={label}"}
    labels = {"daemonset-name": label}
    body = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta(label, labels)}
    body["spec"] = {"selector": {"matchLabels": labels}, "template": template(labels)}
    sets.create(body)
    nodes = [n for n in world.resource("v1", "nodes").list()["items"] if n["metadata"]["name"].startswith("hollow-")]

    def on_every_node():
        pods = world.resource("v1", "pods", namespace).list(**selector)["items"]
        placed = {pod["spec"].get("nodeName") for pod in pods}
        return placed >= {node["metadata"]["name"] for node in nodes}

    eventually("a pod runs on every node", on_every_node)
    eventually("there is one revision", lambda: len(revisions.list(**selector)["items"]) == 1)
    [first] = revisions.list(**selector)["items"]
    equal(first["metadata"]["ownerReferences"][0]["name"], label)
    patched = revisions.patch(first["metadata"]["name"], {"metadata": {"labels": {"patched": "yes"}}}, kind=STRATEGIC)
    equal(patched["metadata"]["labels"]["patched"], "yes")

    second = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta(f"{label}-new", labels)}
    second["metadata"]["ownerReferences"] = first["metadata"]["ownerReferences"]
    revisions.create({**second, "data": first["data"], "revision": first["revision"] + 1})
    eventually("there are two revisions", lambda: len(revisions.list(**selector)["items"]) == 2)
    revisions.delete(first["metadata"]["name"])
    eventually("there is one revision", lambda: len(revisions.list(**selector)["items"]) == 1)
    [left] = revisions.list(**selector)["items"]
    name = left["metadata"]["name"]
    updated = revisions.change(name, lambda found: found["metadata"]["labels"].update({name: "updated"}))
    equal(updated["metadata"]["labels"][name], "updated")

    grace = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}, "updateStrategy": {"type": "RollingUpdate"}}}
    sets.patch(label, grace, kind=STRATEGIC)
    eventually("there are two revisions", lambda: len(revisions.list(**selector)["items"]) == 2)
    revisions.delete_collection(labelSelector=f"{name}=updated")
    eventually("there is one revision", lambda: len(revisions.list(**selector)["items"]) == 1)
    [last] = revisions.list(**selector)["items"]
    equal(last["revision"], 3)
    sets.delete(label)
    refused(404, lambda: sets.get(label))
