"""ResourceQuota: what is used is counted, and given back."""

from client import equal, eventually, meta, refused
from registry import behaviour, unique

TITLE = "[sig-api-machinery] ResourceQuota should "
IMAGE = "registry.k8s.io/pause:3.10"
FULL = {
    "pods": "5",
    "services": "10",
    "services.nodeports": "1",
    "services.loadbalancers": "1",
    "replicationcontrollers": "10",
    "resourcequotas": "1",
    "cpu": "1",
    "memory": "500Mi",
    "configmaps": "10",
    "secrets": "10",
    "persistentvolumeclaims": "10",
    "requests.storage": "10Gi",
    "ephemeral-storage": "50Gi",
    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi",
    "requests.example.com/dongle": "3",
    "count/replicasets.apps": "5",
}


class Quotas:
    """The quotas of a namespace of one's own."""

    def __init__(self, world):
        self.world, self.namespace = world, world.namespace("resourcequota")
        self.quotas = self.of("resourcequotas")

    def of(self, plural, group_version="v1"):
        return self.world.resource(group_version, plural, self.namespace)

    def quota(self, hard, name="test-quota", **spec):
        body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta(name), "spec": {"hard": hard, **spec}}
        self.quotas.create(body)

    def used(self, name="test-quota", **wanted):
        """Waits until the quota counts this; an underscore stands for what a resource's name has as dash or dot."""
        wanted = {key.replace("__", ".").replace("_", "-"): value for key, value in wanted.items()}

        def counted():
            used = self.quotas.get(name).get("status", {}).get("used", {})
            return all(used.get(key) == value for key, value in wanted.items())

        try:
            eventually(f"{name} counts {wanted}", counted)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.quotas.get(name).get('status')}") from error

    def pod(self, name, requests=None, limits=None, **spec):
        resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
        container = {"name": "pause", "image": IMAGE, "resources": resources}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": {"containers": [container], **spec}}
        return self.of("pods").create(body)

    def delete_pod(self, name):
        self.of("pods").delete(name, {"gracePeriodSeconds": 0})


@behaviour(TITLE + "create a ResourceQuota and ensure its status is promptly calculated.")
def prompt(world):
    quotas = Quotas(world)
    quotas.quota(FULL)
    quotas.used(pods="0", services="0", resourcequotas="1", cpu="0", memory="0", secrets="0", configmaps="1")
    equal(quotas.quotas.get("test-quota")["status"]["hard"], FULL)
    equal(quotas.quotas.get("test-quota")["status"]["used"].keys(), FULL.keys())


def life_of(world, resource, body, group_version="v1", count=None):
    """The object's life in its quota: counted while it is there."""
    quotas = Quotas(world)
    objects, key = quotas.of(resource, group_version), count or resource
    before = len(objects.list()["items"])
    quotas.quota(FULL)
    quotas.used(**{key: str(before), "resourcequotas": "1"})
    objects.create({"apiVersion": group_version, "metadata": meta("test"), **body})
    quotas.used(**{key: str(before + 1), "resourcequotas": "1"})
    objects.delete("test", {"propagationPolicy": "Background"})
    quotas.used(**{key: str(before), "resourcequotas": "1"})


@behaviour(TITLE + "create a ResourceQuota and capture the life of a configMap.")
def life_of_config_map(world):
    life_of(world, "configmaps", {"kind": "ConfigMap", "data": {"a": "b"}})


@behaviour(TITLE + "create a ResourceQuota and capture the life of a secret.")
def life_of_secret(world):
    life_of(world, "secrets", {"kind": "Secret", "stringData": {"a": "b"}})


@behaviour(TITLE + "create a ResourceQuota and capture the life of a replica set.")
def life_of_replica_set(world):
    labels = {"name": "test"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    life_of(world, "replicasets", {"kind": "ReplicaSet", "spec": spec}, "apps/v1", "count/replicasets__apps")


@behaviour(TITLE + "create a ResourceQuota and capture the life of a replication controller.")
def life_of_replication_controller(world):
    labels = {"name": "test"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
    life_of(world, "replicationcontrollers", {"kind": "ReplicationController", "spec": {"replicas": 0, "selector": labels, "template": template}})


@behaviour(TITLE + "create a ResourceQuota and capture the life of a service.")
def life_of_service(world):
    quotas = Quotas(world)
    quotas.quota(FULL)
    quotas.used(services="0", services__nodeports="0", services__loadbalancers="0")

    def service(name, kind, **spec):
        body = {"apiVersion": "v1", "kind": "Service", "metadata": meta(name)}
        body["spec"] = {"type": kind, "ports": [{"port": 80, "targetPort": 80}], **spec}
        return quotas.of("services").create(body)

    service("test-service", "ClusterIP")
    service("test-node-port", "NodePort")
    refused(403, lambda: service("test-lb", "LoadBalancer", allocateLoadBalancerNodePorts=True), "exceeded quota")
    quotas.used(services="2", services__nodeports="1", services__loadbalancers="0")
    for name in ("test-service", "test-node-port"):
        quotas.of("services").delete(name)
    quotas.used(services="0", services__nodeports="0", services__loadbalancers="0")


@behaviour(TITLE + "create a ResourceQuota and capture the life of a pod.")
def life_of_pod(world):
    quotas, extended = Quotas(world), "example.com/dongle"
    quotas.quota(FULL)
    quotas.used(pods="0", cpu="0", memory="0")
    asks = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", extended: "2"}
    quotas.pod("test-pod", asks, {extended: "2"})
    counted = {"pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral_storage": "30Gi"}
    quotas.used(**counted)
    equal(quotas.quotas.get("test-quota")["status"]["used"][f"requests.{extended}"], "2")
    refused(403, lambda: quotas.pod("fail-pod", {"cpu": "600m", "memory": "100Mi"}), "exceeded quota", "test-quota")
    too_many = {"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "1Gi", extended: "2"}
    refused(403, lambda: quotas.pod("fail-pod-for-extended-resource", too_many, {extended: "2"}), "exceeded quota")
    larger = {"spec": {"containers": [{"name": "pause", "resources": {"requests": {"cpu": "100m"}}}]}}
    strategic = "application/strategic-merge-patch+json"
    refused(422, lambda: quotas.of("pods").patch("test-pod", larger, kind=strategic))
    quotas.used(**counted)
    quotas.delete_pod("test-pod")
    quotas.used(pods="0", cpu="0", memory="0", ephemeral_storage="0")


@behaviour(TITLE + "verify ResourceQuota with terminating scopes.")
def terminating(world):
    quotas = Quotas(world)
    hard = {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    quotas.quota(hard, "terminating", scopes=["Terminating"])
    quotas.quota(hard, "not-terminating", scopes=["NotTerminating"])
    asks = ({"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"})
    full = {"pods": "1", "requests__cpu": "500m", "requests__memory": "200Mi", "limits__cpu": "1", "limits__memory": "400Mi"}
    empty = dict.fromkeys(full, "0")
    for name, spec, counts, not_counts in (
        ("long-running-pod", {}, "not-terminating", "terminating"),
        ("terminating-pod", {"activeDeadlineSeconds": 3600}, "terminating", "not-terminating"),
    ):
        quotas.used("terminating", **empty), quotas.used("not-terminating", **empty)
        quotas.pod(name, *asks, **spec)
        quotas.used(counts, **full)
        quotas.used(not_counts, **empty)
        quotas.delete_pod(name)
        quotas.used(counts, **empty)


@behaviour(TITLE + "verify ResourceQuota with best effort scope.")
def best_effort(world):
    quotas = Quotas(world)
    quotas.quota({"pods": "5"}, "besteffort", scopes=["BestEffort"])
    quotas.quota({"pods": "5"}, "not-besteffort", scopes=["NotBestEffort"])
    asks = ({"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"})
    for name, given, counts, not_counts in (("best", (), "besteffort", "not-besteffort"), ("burst", asks, "not-besteffort", "besteffort")):
        quotas.used("besteffort", pods="0"), quotas.used("not-besteffort", pods="0")
        quotas.pod(name, *given)
        quotas.used(counts, pods="1")
        quotas.used(not_counts, pods="0")
        quotas.delete_pod(name)
        quotas.used(counts, pods="0")


@behaviour(TITLE + "be able to update and delete ResourceQuota.")
def updated(world):
    quotas = Quotas(world)
    quotas.quota({"cpu": "1", "memory": "500Mi"})
    equal(quotas.quotas.get("test-quota")["spec"]["hard"], {"cpu": "1", "memory": "500Mi"})
    found = quotas.quotas.change("test-quota", lambda body: body["spec"].update(hard={"cpu": "2", "memory": "1Gi"}))
    equal(found["spec"]["hard"], {"cpu": "2", "memory": "1Gi"})
    equal(quotas.quotas.get("test-quota")["spec"]["hard"], {"cpu": "2", "memory": "1Gi"})
    quotas.quotas.delete("test-quota")
    refused(404, lambda: quotas.quotas.get("test-quota"))


@behaviour(TITLE + "manage the lifecycle of a ResourceQuota")
def lifecycle(world):
    quotas, label = Quotas(world), unique("quota")
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta("e2e", {"conformance": label})}
    quotas.quotas.create({**body, "spec": {"hard": {"cpu": "1", "memory": "500Mi"}}})
    selector = {"labelSelector": f"conformance={label}"}
    equal(len(world.resource("v1", "resourcequotas").list(**selector)["items"]), 1)
    patch = {"metadata": {"labels": {"e2e": "patched"}}, "spec": {"hard": {"memory": "750Mi"}}}
    patched = quotas.quotas.patch("e2e", patch, kind="application/strategic-merge-patch+json")
    equal((patched["metadata"]["labels"]["e2e"], patched["spec"]["hard"]), ("patched", {"cpu": "1", "memory": "750Mi"}))
    quotas.quotas.delete_collection(**selector)
    equal(quotas.quotas.list(**selector)["items"], [])


@behaviour(TITLE + "apply changes to a resourcequota status")
def status(world):
    quotas = Quotas(world)
    resource = quotas.quotas
    quotas.quota({"cpu": "500m", "memory": "500Mi"}, "e2e")
    hard = lambda: resource.get("e2e", "status").get("status", {}).get("hard")  # noqa: E731
    eventually("the hard status is the spec's", lambda: hard() == {"cpu": "500m", "memory": "500Mi"})
    changed = resource.change("e2e", lambda body: body["status"].update(hard={"cpu": "1", "memory": "1Gi"}), "status")
    equal(changed["status"]["hard"], {"cpu": "1", "memory": "1Gi"})
    eventually("the controller sets it back", lambda: hard() == {"cpu": "500m", "memory": "500Mi"})
    resource.patch("e2e", {"spec": {"hard": {"cpu": "1", "memory": "1Gi"}}})
    eventually("it follows the spec", lambda: hard() == {"cpu": "1", "memory": "1Gi"})
    patched = resource.patch("e2e", {"status": {"hard": {"cpu": "2", "memory": "2Gi"}}, "spec": {"hard": {"cpu": "9"}}}, "status")
    equal((patched["status"]["hard"], patched["spec"]["hard"]), ({"cpu": "2", "memory": "2Gi"}, {"cpu": "1", "memory": "1Gi"}))
    eventually("the controller sets it back", lambda: hard() == {"cpu": "1", "memory": "1Gi"})
    equal(resource.get("e2e")["spec"]["hard"], {"cpu": "1", "memory": "1Gi"})
