"""Another API server, in a pod behind a service, answers for a group of its own."""

from client import STRATEGIC, Refused, equal, eventually, meta, refused
from registry import behaviour, unique
from served_pods import Net
from served_tls import Authority, mounted

GROUP = "wardle.example.com"
NAME = f"v1alpha1.{GROUP}"
REGISTRATION, RBAC = "apiregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"


def rights(world, net):
    """What such a server needs: to review what users may do, and to read by whom it is asked."""
    subject = [{"kind": "ServiceAccount", "name": "default", "namespace": net.namespace}]

    def bind(plural, namespace, kind, role):
        bindings, name = world.resource(RBAC, plural, namespace), unique("wardler")
        bindings.create({"metadata": meta(name), "roleRef": {"apiGroup": RBAC.partition("/")[0], "kind": kind, "name": role}, "subjects": subject})
        world.after(lambda: bindings.delete(name))

    bind("clusterrolebindings", None, "ClusterRole", "system:auth-delegator")
    bind("rolebindings", "kube-system", "Role", "extension-apiserver-authentication-reader")


def deployed(world):
    """The server is complete and registered, and answers."""
    net = Net(world, "aggregator")
    rights(world, net)
    authority = Authority(f"sample-api.{net.namespace}.svc")
    world.resource("v1", "secrets", net.namespace).create(authority.secret("sample-apiserver-secret"))
    volume, mount = mounted("sample-apiserver-secret")
    labels = {"app": "sample-apiserver", "apiserver": "true"}
    probe = {"httpGet": {"scheme": "HTTPS", "port": 443, "path": "/readyz"}, "initialDelaySeconds": 5, "periodSeconds": 1}
    command = ["python3", "-u", "/served/wardle.py", "443"]
    container = {"name": "sample-apiserver", "image": world.image, "command": command, "volumeMounts": [mount], "readinessProbe": probe}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 0}}
    deployments = world.resource("apps/v1", "deployments", net.namespace)
    deployments.create({"metadata": meta("sample-apiserver-deployment"), "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}})
    net.service("sample-api", {"port": 7443, "targetPort": 443, "protocol": "TCP"}, selector={"apiserver": "true"}, labels={"test": "aggregator"})
    eventually("it is available", lambda: deployments.get("sample-apiserver-deployment")["status"].get("availableReplicas") == 1)
    services = world.resource(REGISTRATION, "apiservices")
    service = {"namespace": net.namespace, "name": "sample-api", "port": 7443}
    spec = {"service": service, "group": GROUP, "version": "v1alpha1", "caBundle": authority.bundle, "groupPriorityMinimum": 2000, "versionPriority": 200}
    services.create({"metadata": meta(NAME), "spec": spec})
    world.after(lambda: services.delete(NAME))
    flunders = world.resource(f"{GROUP}/v1alpha1", "flunders", "default")

    def answers():
        """Until then nothing but these may be said."""
        try:
            return flunders.list()
        except Refused as refusal:
            assert refusal.status in (403, 404, 503), refusal
            return None

    eventually("it answers", answers, 60)
    return net, services


@behaviour("[sig-api-machinery] Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator [LinuxOnly]")
def aggregated(world):
    net, services = deployed(world)
    flunders = world.resource(f"{GROUP}/v1alpha1", "flunders", "default")
    body = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "Flunder"}
    answer = world.api.raw("POST", flunders.path, {**body, "metadata": {"name": "rest-flunder", "namespace": "default", "labels": {"sample-label": "true"}}})
    equal(answer.status, 201)
    equal(flunders.names(), ["rest-flunder"])
    flunders.delete("rest-flunder")
    equal(flunders.names(), [])

    def served():
        known = world.api.call("GET", f"/apis/{GROUP}/v1alpha1")["resources"]
        return [one["name"] for one in known] == ["flunders"] and GROUP in [group["name"] for group in world.api.call("GET", "/apis")["groups"]]

    assert served()
    flunders = world.resource(f"{GROUP}/v1alpha1", "flunders", net.namespace)
    flunders.create({**body, "metadata": {"name": "dynamic-flunder"}})
    equal(flunders.names(), ["dynamic-flunder"])
    # Who may do nothing here may do nothing there: the other server asks this one.
    refused(403, world.api.as_user("nobody").resource(f"{GROUP}/v1alpha1", "flunders", net.namespace).list)

    equal(services.get(NAME, "status")["status"]["conditions"][0]["message"], "all checks passed")
    equal(services.patch(NAME, {"spec": {"versionPriority": 400}})["spec"]["versionPriority"], 400)
    assert NAME in services.names()
    services.patch(NAME, {"metadata": {"labels": {"e2e-apiservice": "patched"}}}, kind=STRATEGIC)

    def conditions():
        return [(one["type"], one["reason"], one["message"]) for one in services.get(NAME, "status")["status"]["conditions"]]

    # Times that are not set are null, as Go's clients write them.
    told = {"status": "True", "reason": "E2E", "lastTransitionTime": None}
    more = {**told, "type": "StatusUpdated", "message": "Set from e2e test"}
    services.change(NAME, lambda found: found["status"]["conditions"].append(more), "status")
    assert ("StatusUpdated", "E2E", "Set from e2e test") in conditions()
    changed = services.change(NAME, lambda found: found["metadata"].update(labels={NAME: "updated"}))
    equal(changed["metadata"]["labels"], {NAME: "updated"})
    flunders.delete("dynamic-flunder")
    equal(flunders.names(), [])
    flunders.create({**body, "metadata": {"name": "dynamic-flunder"}})
    known = services.get(NAME, "status")["status"]["conditions"]
    services.patch(NAME, {"status": {"conditions": [*known, {**told, "type": "StatusPatched", "message": "Set by e2e test"}]}}, "status")
    assert ("StatusPatched", "E2E", "Set by e2e test") in conditions()
    services.delete_collection(labelSelector=f"{NAME}=updated")
    eventually("it is gone", lambda: not services.names(labelSelector=f"{NAME}=updated"), 30)
    eventually("so is its group", lambda: GROUP not in [group["name"] for group in world.api.call("GET", "/apis")["groups"]], 30)
