"""kubectl against pods that run."""

import json
import re

from client import equal, eventually
from kubectl import kubectl
from pods import Pods
from registry import behaviour
from workloads import SERVE, ready_pods, template, workload

TITLE = "[sig-cli] Kubectl "
PRIMARY = {"app": "agnhost", "role": "primary"}
TEMPLATE = '{{if (exists . "status" "containerStatuses")}}{{range .status.containerStatuses}}{{if (and (eq .name "c") (exists . "state" "running"))}}true{{end}}{{end}}{{end}}'


class Shell:
    """kubectl in the namespace of one behaviour."""

    def __init__(self, world):
        self.world, self.namespace = world, world.namespace("kubectl")
        self.pods = Pods(world, self.namespace)

    def __call__(self, *arguments, **options):
        if "input" in options and not isinstance(options["input"], str):
            options["input"] = json.dumps(options["input"])
        return kubectl(self.world, "-n", self.namespace, *arguments, **options)

    def service(self, name, labels, port, **spec):
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels}}
        return {**body, "spec": {"selector": labels, "ports": [{"port": port, "targetPort": 80}], **spec}}

    def primary(self):
        pod = template(self.world, PRIMARY, SERVE, {"ports": [{"name": "agnhost-server", "containerPort": 6379}]})
        self("create", "-f", "-", input=workload("ReplicationController", "agnhost-primary", PRIMARY, pod, replicas=1))
        [found] = ready_pods(self.pods.resource, 1, "app=agnhost")
        return found["metadata"]["name"]


def says(text, *required):
    """Line by line, in order: a line that has every part."""
    rest = text.splitlines()
    for parts in required:
        while rest and not all(part in rest[0] for part in parts):
            rest.pop(0)
        assert rest, f"no line with {parts} in its place in:\n{text}"


@behaviour(TITLE + "client Kubectl describe should check if kubectl describe prints relevant information for rc and pods")
def describe(world):
    shell = Shell(world)
    pod = shell.primary()
    shell("create", "-f", "-", input=shell.service("agnhost-primary", PRIMARY, 6379))
    space = ["Namespace:", shell.namespace]
    own = [["Name:", pod], space, ["Node:"], ["Labels:", "app=agnhost"], ["role=primary"], ["Annotations:"], ["Status:", "Running"], ["IP:"]]
    own += [["Controlled By:", "ReplicationController/agnhost-primary"], ["Image:", world.image], ["State:", "Running"], ["QoS Class:", "BestEffort"]]
    said = shell("describe", "pod", pod)
    says(said, *own)
    says(said, ["Events:"], ["Scheduled", "default-scheduler"])
    for reason in ("Pulled", "Created", "Started"):
        assert re.search(rf"^\s+Normal\s+{reason}\s.*kubelet", said, re.M), f"{reason}: {said}"
    counts = [["Replicas:", "1 current", "1 desired"], ["Pods Status:", "1 Running", "0 Waiting", "0 Succeeded", "0 Failed"]]
    rest = [["Pod Template:"], ["Image:", world.image], ["Events:"], ["SuccessfulCreate", "Created pod"]]
    says(shell("describe", "rc", "agnhost-primary"), ["Name:", "agnhost-primary"], space, ["Selector:", "app=agnhost,role=primary"], ["Labels:", "app=agnhost"], ["role=primary"], ["Annotations:"], *counts, *rest)
    lines = [["Name:", "agnhost-primary"], space, ["Labels:", "app=agnhost"], ["role=primary"], ["Annotations:"], ["Selector:", "app=agnhost,role=primary"]]
    says(shell("describe", "service", "agnhost-primary"), *lines, ["Type:", "ClusterIP"], ["IP:"], ["Port:", "<unset>", "6379/TCP"], ["Endpoints:", ":80"], ["Session Affinity:"])
    node = world.resource("v1", "nodes").names()[0]
    columns = ["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"]
    versions = [["Kernel Version:"], ["OS Image:"], ["Container Runtime Version:"], ["Kubelet Version:"]]
    said = shell("describe", "node", node)
    says(said, ["Name:", node], ["Labels:"], ["Annotations:"], ["CreationTimestamp:"], ["Conditions:"], columns, ["Addresses:"], ["Capacity:"], *versions, ["Pods:"])
    says(shell("describe", "namespace", shell.namespace), ["Name:", shell.namespace], ["Labels:"], ["Annotations:"], ["Status:", "Active"])


@behaviour(TITLE + "client Kubectl expose should create services for rc")
def expose(world):
    shell = Shell(world)
    shell.primary()
    slices = world.resource("discovery.k8s.io/v1", "endpointslices", shell.namespace)

    def check(name, port):
        found = world.resource("v1", "services", shell.namespace).get(name)
        [exposed] = found["spec"]["ports"]
        equal((exposed["port"], exposed["targetPort"]), (port, 6379))

        def endpoints():
            items = slices.list(labelSelector=f"kubernetes.io/service-name={name}")["items"]
            return [p["port"] for item in items if item.get("endpoints") for p in item["ports"]] == [6379]

        eventually(f"the endpoints of {name}", endpoints)

    shell("expose", "rc", "agnhost-primary", "--name=rm2", "--port=1234", "--target-port=6379")
    check("rm2", 1234)
    shell("expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    check("rm3", 2345)


@behaviour(TITLE + "client Kubectl label should update the label on a resource")
def label(world):
    shell = Shell(world)
    shell.pods.create("pause", shell.pods.container(), labels={"name": "pause"})
    shell.pods.ready("pause")
    shell("label", "pods", "pause", "testing-label=testing-label-value")
    assert "testing-label-value" in shell("get", "pod", "pause", "-L", "testing-label")
    shell("label", "pods", "pause", "testing-label-")
    assert "testing-label-value" not in shell("get", "pod", "pause", "-L", "testing-label")


@behaviour(TITLE + "client Kubectl patch should add annotations for pods in rc")
def patch(world):
    shell = Shell(world)
    pod = shell.primary()
    shell("patch", "pod", pod, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
    equal(shell.pods.resource.get(pod)["metadata"]["annotations"]["x"], "y")


def run_pod(shell, *more):
    shell("run", "e2e-test-httpd-pod", f"--image={shell.world.image}", "--pod-running-timeout=2m0s", *more)


@behaviour(TITLE + "client Kubectl run pod should create a pod from an image when restart is Never")
def run(world):
    shell = Shell(world)
    run_pod(shell, "--restart=Never")
    found = shell.pods.resource.get("e2e-test-httpd-pod")["spec"]
    equal((found["containers"][0]["image"], found["restartPolicy"]), (world.image, "Never"))


@behaviour(TITLE + "client Kubectl replace should update a single-container pod's image")
def replace(world):
    shell = Shell(world)
    run_pod(shell, "--labels=run=e2e-test-httpd-pod")
    [pod] = ready_pods(shell.pods.resource, 1, "run=e2e-test-httpd-pod")
    other = f"{world.image}@{pod['status']['containerStatuses'][0]['imageID'].rsplit('@')[-1]}"
    shell("replace", "-f", "-", input=shell("get", "pod", "e2e-test-httpd-pod", "-o", "json").replace(f'"image": "{world.image}"', f'"image": "{other}"', 1))
    equal(shell.pods.resource.get("e2e-test-httpd-pod")["spec"]["containers"][0]["image"], other)
    shell.pods.wait("e2e-test-httpd-pod", "runs again", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1 and pod["status"]["containerStatuses"][0]["ready"])


@behaviour(TITLE + "client Kubectl server-side dry-run should check if kubectl can dry-run update Pods")
def dry_run(world):
    shell = Shell(world)
    run_pod(shell, "--labels=run=e2e-test-httpd-pod")
    ready_pods(shell.pods.resource, 1, "run=e2e-test-httpd-pod")
    body = {"spec": {"containers": [{"name": "e2e-test-httpd-pod", "image": "example.com/busybox:1"}]}}
    shell("patch", "pod", "e2e-test-httpd-pod", "-p", json.dumps(body), "--dry-run=server")
    equal(shell.pods.resource.get("e2e-test-httpd-pod")["spec"]["containers"][0]["image"], world.image)


@behaviour(TITLE + "client Update Demo should create and stop a replication controller", TITLE + "client Update Demo should scale a replication controller")
def update_demo(world):
    shell, labels = Shell(world), {"name": "update-demo"}
    body = workload("ReplicationController", "update-demo-nautilus", labels, template(world, labels, SERVE), replicas=2)
    shell("create", "-f", "-", input=body)

    def names():
        return shell("get", "pods", "-o", "template", "--template={{range.items}}{{.metadata.name}} {{end}}", "-l", "name=update-demo").split()

    def running(count):
        eventually(f"{count} run", lambda: len(names()) == count)
        for name in names():
            eventually(f"{name} runs", lambda name=name: shell("get", "pods", name, "-o", "template", f"--template={TEMPLATE}") == "true")
            eventually("it serves", lambda name=name: world.api.raw("GET", shell.pods.resource.of(name, "proxy") + "/index.html").data.decode().strip() == name)

    running(2)
    for count in (1, 2):
        shell("scale", "rc", "update-demo-nautilus", f"--replicas={count}", "--timeout=5m")
        running(count)
    shell("delete", "--grace-period=0", "--force", "-f", "-", input=body)
    eventually("nothing is left", lambda: not shell("get", "rc,svc", "-l", "name=update-demo", "--no-headers").strip() and not names())


@behaviour(TITLE + "logs logs should be able to retrieve and filter logs")
def logs(world):
    shell = Shell(world)
    line = "i=0; while [ $i -lt 10 ]; do echo \"$(date +%H:%M:%S) $i GET /api/v1/namespaces/kube-system/pods/x 200\"; i=$((i+1)); usleep 500000; done; sleep 100"
    shell("run", "logs-generator", f"--image={world.image}", "--restart=Never", "--pod-running-timeout=2m0s", "--command", "--", "/bin/sh", "-c", line)
    shell.pods.phase("logs-generator", "Running")
    eventually("its first lines", lambda: "/api/v1/namespaces/kube-system" in shell("logs", "logs-generator", "logs-generator"))
    said = shell("logs", "logs-generator", "logs-generator", "--tail=1")
    equal(said.count("\n"), 1)
    equal(len(shell("logs", "logs-generator", "logs-generator", "--limit-bytes=1")), 1)
    said = shell("logs", "logs-generator", "logs-generator", "--tail=1", "--timestamps")
    equal(said.count("\n"), 1)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d) ", said), said
    eventually("all lines", lambda: shell("logs", "logs-generator", "logs-generator").count("\n") == 10)
    recent = shell("logs", "logs-generator", "logs-generator", "--since=1s").count("\n")
    older = shell("logs", "logs-generator", "logs-generator", "--since=24h").count("\n")
    assert recent < older == 10, (recent, older)


CGI = "printf 'Content-Type: text/plain\\r\\n\\r\\n'; "
HOST = "$(nslookup agnhost-primary.%s.svc.cluster.local | grep Address | tail -1 | sed 's/.*: *//; s/ .*//')"


@behaviour(TITLE + "client Guestbook application should create and stop a working application")
def guestbook(world):
    """A front that keeps its entries behind another service, which it finds by name."""
    shell = Shell(world)
    serve = "exec httpd -f -p 80 -h /www"
    store = CGI + '[ -n "$QUERY_STRING" ] && echo "$QUERY_STRING" >> /tmp/entries; cat /tmp/entries'
    ask = CGI + f"printf \"GET /cgi-bin/store?$QUERY_STRING HTTP/1.0\\r\\n\\r\\n\" | nc {HOST % shell.namespace} 6379 | sed '1,/^\\r*$/d'"
    for name, labels, count, script in (("agnhost-primary", PRIMARY, 1, ("store", store)), ("frontend", {"app": "guestbook", "tier": "frontend"}, 3, ("guestbook", ask))):
        script_file = f"mkdir -p /www/cgi-bin; (echo '#!/bin/sh'; echo \"$SCRIPT\") > /www/cgi-bin/{script[0]}; chmod +x /www/cgi-bin/{script[0]}; touch /tmp/entries; {serve}"
        pod = template(world, labels, script_file, {"env": [{"name": "SCRIPT", "value": script[1]}]})
        shell("create", "-f", "-", input=shell.service(name, labels, 6379 if count == 1 else 80))
        shell("create", "-f", "-", input=workload("Deployment", name, labels, pod, replicas=count))
        ready_pods(shell.pods.resource, count, ",".join(f"{k}={v}" for k, v in labels.items()))
    path = f"/api/v1/namespaces/{shell.namespace}/services/frontend/proxy/cgi-bin/guestbook"
    eventually("it takes an entry", lambda: b"TestEntry" in world.api.raw("GET", path + "?TestEntry").data)
    eventually("it knows the entry", lambda: b"TestEntry" in world.api.raw("GET", path).data)
    for name in ("agnhost-primary", "frontend"):
        shell("delete", "--grace-period=0", "--force", f"service/{name}", f"deployment/{name}")
    eventually("nothing is left", lambda: not shell("get", "deploy,svc,pods", "--no-headers").strip())
