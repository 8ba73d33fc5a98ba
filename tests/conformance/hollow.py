"""Nodes that only report: ready, with a fresh lease; every pod bound to them is said to run, and ends when it is deleted.
Other nodes that the cluster has get no pods meanwhile: they would pull images."""

import datetime
import threading

from client import MERGE, Ended, Refused, Watch, meta


def now(fraction=False):
    moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if fraction else "%Y-%m-%dT%H:%M:%SZ")


class HollowNodes:
    def __init__(self, api, count):
        self.api, self.stop = api, threading.Event()
        self.names, self.cordoned = [f"hollow-{number}" for number in range(count)], []
        self.nodes, self.leases = api.resource("v1", "nodes"), api.resource("coordination.k8s.io/v1", "leases", "kube-node-lease")

    def __enter__(self):
        for name in self.names:
            self.register(name)
        if self.names:
            self.cordon()
            self.beat()
            threading.Thread(target=self.report, daemon=True).start()
            threading.Thread(target=self.act_as_kubelet, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for name in self.names:
            self.nodes.delete(name)
        for name in self.cordoned:
            self.nodes.patch(name, {"spec": {"unschedulable": None}})

    def cordon(self):
        for node in self.nodes.list()["items"]:
            name = node["metadata"]["name"]
            if name not in self.names and not node["spec"].get("unschedulable"):
                self.nodes.patch(name, {"spec": {"unschedulable": True}})
                self.cordoned.append(name)

    def register(self, name):
        body = {"apiVersion": "v1", "kind": "Node", "metadata": meta(name, {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"})}
        try:
            self.nodes.create(body)
        except Refused as refused:
            if refused.status != 409:
                raise

    def report(self):
        while not self.stop.wait(5):
            self.beat()

    def beat(self):
        size = {"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"}
        for name in self.names:
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()}
            info = {"kubeletVersion": "v1.36.0", "architecture": "amd64", "operatingSystem": "linux"}
            status = {"capacity": size, "allocatable": size, "conditions": [ready], "nodeInfo": info}
            self.nodes.patch(name, {"status": status}, "status", kind="application/strategic-merge-patch+json")
            self.nodes.patch(name, {"spec": {"taints": None}}, kind=MERGE)
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta(name)}
            lease["spec"] = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now(True)}
            self.leases.patch(name, lease, kind="application/apply-patch+yaml", fieldManager="hollow", force="true")

    def act_as_kubelet(self):
        pods = self.api.resource("v1", "pods")
        while not self.stop.is_set():
            version = pods.list()["metadata"]["resourceVersion"]
            for pod in pods.list()["items"]:
                self.tend(pod)
            # Shorter than the client waits for an answer to go on.
            watch = Watch(pods, {"resourceVersion": version, "timeoutSeconds": 60})
            try:
                while not self.stop.is_set():
                    event = watch.next(3600)
                    if event["type"] == "ERROR":
                        break
                    if event["type"] != "DELETED":
                        self.tend(event["object"])
            except Ended:
                pass  # the server ends it, and what has changed since is listed
            finally:
                watch.close()

    def tend(self, pod):
        """One pod, one step nearer to what its spec asks."""
        found, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
        if spec.get("nodeName") not in self.names:
            return
        own = self.api.resource("v1", "pods", found["namespace"])
        generation = found.get("generation")
        try:
            if "deletionTimestamp" in found:
                if found.get("deletionGracePeriodSeconds", 0) < 60 and status.get("phase") == "Running":
                    own.delete(found["name"], {"gracePeriodSeconds": 0, "preconditions": {"uid": found["uid"]}})
                elif "phase" in status and status["phase"] != "Running":
                    own.delete(found["name"], {"gracePeriodSeconds": 0})
            elif status.get("phase") == "Pending" or status.get("observedGeneration") != generation:
                own.patch(found["name"], {"status": running(spec, generation)}, "status")
        except Refused as refused:
            if refused.status not in (404, 409):
                raise


def running(spec, generation):
    kinds = ("Initialized", "Ready", "ContainersReady")
    states = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now()}},
        }
        for container in spec["containers"]
    ]
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}]
    conditions += [{"type": kind, "status": "True", "lastTransitionTime": now()} for kind in kinds]
    return {
        "phase": "Running",
        "observedGeneration": generation,
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "startTime": now(),
        "conditions": conditions,
        "containerStatuses": states,
    }
