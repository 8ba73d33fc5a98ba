"""A webhook server in a pod behind a service, and configurations that lead there."""

from client import Refused, eventually, meta
from kinds import ALLOW_ALL, custom_kind
from registry import unique
from served_pods import Net
from served_tls import Authority, mounted

ADMISSION = "admissionregistration.k8s.io/v1"
SERVICE, PORT = "e2e-test-webhook", 8443


class Webhooks(Net):
    """The server is ready; the namespace bears the label by which configurations are confined to it."""

    def __init__(self, world, stem="webhook"):
        super().__init__(world, stem)
        self.label = self.namespace
        world.resource("v1", "namespaces").patch(self.namespace, {"metadata": {"labels": {self.label: "true"}}})
        self.markers = world.namespace(f"{stem}-markers", {f"{self.label}-markers": "true"})
        self.authority = Authority(f"{SERVICE}.{self.namespace}.svc")
        world.resource("v1", "secrets", self.namespace).create(self.authority.secret("sample-webhook-secret"))
        volume, mount = mounted("sample-webhook-secret")
        labels = {"app": "sample-webhook", "webhook": "true"}
        probe = {"tcpSocket": {"port": 8444}, "periodSeconds": 1}
        command = ["python3", "-u", "/served/webhook.py", "8444"]
        container = {"name": "sample-webhook", "image": world.image, "command": command, "volumeMounts": [mount], "readinessProbe": probe}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 0}}
        deployments = world.resource("apps/v1", "deployments", self.namespace)
        spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        deployments.create({"metadata": meta("sample-webhook-deployment"), "spec": spec})
        self.service(SERVICE, {"port": PORT, "targetPort": 8444, "protocol": "TCP"}, selector={"webhook": "true"})
        eventually("the webhook is available", lambda: deployments.get("sample-webhook-deployment")["status"].get("availableReplicas") == 1)
        eventually("its endpoint is known", lambda: (self.endpoints.get(SERVICE).get("subsets") or [{}])[0].get("addresses"))
        self.configmaps = world.resource("v1", "configmaps", self.namespace)

    def leads(self, path, trusted=True):
        found = {"service": {"namespace": self.namespace, "name": SERVICE, "path": path, "port": PORT}}
        return {**found, "caBundle": self.authority.bundle} if trusted else found

    def hook(self, name, path, operations, resources, group="", versions=("v1",), trusted=True, **more):
        rule = {"apiGroups": [group], "apiVersions": list(versions), "operations": operations, "resources": resources}
        found = {"name": f"{name}.k8s.io", "rules": [rule], "clientConfig": self.leads(path, trusted), "sideEffects": "None"}
        found |= {"admissionReviewVersions": ["v1", "v1beta1"], "namespaceSelector": {"matchLabels": {self.label: "true"}}}
        return {**found, **more}

    def marker(self, kind):
        selectors = {"namespaceSelector": {"matchLabels": {f"{self.label}-markers": "true"}}, "objectSelector": {"matchLabels": {self.label: "true"}}}
        return self.hook(f"{kind}-is-webhook-configuration-ready", "/always-deny", ["CREATE"], ["configmaps"], failurePolicy="Ignore", **selectors)

    def configurations(self, kind):
        return self.world.resource(ADMISSION, f"{kind}webhookconfigurations")

    def register(self, kind, *hooks, labels=None, name=None):
        """Puts them in force, and waits until they are."""
        name, configurations = name or unique(self.namespace), self.configurations(kind)
        made = configurations.create({"metadata": meta(name, labels), "webhooks": [*hooks, self.marker(kind)]})
        self.world.after(lambda: configurations.delete(name))
        self.in_force()
        return made

    def in_force(self):
        maps = self.world.resource("v1", "configmaps", self.markers)

        def denied():
            marker = unique("marker")
            try:
                maps.create({"metadata": meta(marker, {self.label: "true"})})
            except Refused as refusal:
                assert "denied" in refusal.message, refusal
                return True
            maps.delete(marker)
            return False

        eventually("the configuration is in force", denied, 30)

    def custom_kind(self, **schema):
        return custom_kind(self.world, versions={"v1": schema or ALLOW_ALL})


def denial(action, *said):
    """The action is refused, by any status, with a message that says all this."""
    try:
        action()
    except Refused as refusal:
        for part in said:
            assert part in refusal.message, f"{part!r} is not in {refusal}"
        return refusal
    raise AssertionError(f"it is not refused, though due: {said}")
