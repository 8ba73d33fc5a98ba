"""Pods that serve and pods that ask, with the programs of `served`, and services before them."""

from client import eventually, meta
from pods import Pods


class Net(Pods):
    """The pods and services of one namespace."""

    def __init__(self, world, stem):
        super().__init__(world, world.namespace(stem))
        self.services = world.resource("v1", "services", self.namespace)
        self.endpoints = world.resource("v1", "endpoints", self.namespace)
        self.slices = world.resource("discovery.k8s.io/v1", "endpointslices", self.namespace)

    def service(self, name, *ports, selector=None, labels=None, **spec):
        if selector:
            spec["selector"] = selector
        return self.services.create({"metadata": meta(name, labels), "spec": {"ports": list(ports), **spec}})

    def server(self, name, labels=None, http="80", udp="", ports=(), env=(), probed=True, options=None, **spec):
        """One that says its name. It is ready when it answers."""
        probe = {"readinessProbe": {"tcpSocket": {"port": int(http.split(",")[0])}, "periodSeconds": 1}} if http and probed else {}
        arguments = [f"{kind}={value}" for kind, value in (("http", http), ("udp", udp)) if value]
        env = [{"name": key, "value": value} for key, value in dict(env).items()]
        command = ["python3", "/served/netexec.py", *arguments]
        container = {"name": "main", "image": self.world.image, "command": command, "ports": list(ports), "env": env, **probe, **(options or {})}
        return self.create(name, container, labels=labels, **spec)

    def controller(self, name, replicas, http="9376"):
        """A replication controller of servers, once all are ready; the names of its pods."""
        body = self.body("x", self.container(), labels={"name": name})
        probe = {"tcpSocket": {"port": int(http)}, "periodSeconds": 1}
        container = {"name": "main", "image": self.world.image, "command": ["python3", "/served/netexec.py", f"http={http}"], "readinessProbe": probe}
        template = {"metadata": {"labels": {"name": name}}, "spec": {**body["spec"], "containers": [container]}}
        controllers = self.world.resource("v1", "replicationcontrollers", self.namespace)
        controllers.create({"metadata": meta(name), "spec": {"replicas": replicas, "selector": {"name": name}, "template": template}})
        eventually(f"{replicas} of {name} are ready", lambda: controllers.get(name)["status"].get("readyReplicas") == replicas)
        return self.resource.names(labelSelector=f"name={name}")

    def client(self, name="execpod", **spec):
        self.create(name, self.container(), **spec)
        return self.ready(name)

    def ask(self, client, *words):
        """What `ask.py` says there, or None if it ends with a fault."""
        said = self.exec(client, f"python3 /served/ask.py {' '.join(words)} && echo '<done>'").rstrip("\n")
        return said.removesuffix("<done>").rstrip("\n") if said.endswith("<done>") else None

    def reaches(self, client, host, port, names=None, seconds=60):
        """Servers answer there, each of `names` in time."""
        seen = set()

        def look():
            said = self.ask(client, "http", f"http://{host}:{port}/hostname")
            if said:
                seen.add(said)
            return said and (names is None or seen >= set(names))

        try:
            eventually(f"{host}:{port} answers from {client}", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; answered: {sorted(seen)}, due: {names}") from error
        assert names is None or seen == set(names), f"{seen} and not {names}"

    def refuses(self, client, kind, host, port, *words, seconds=30):
        eventually(f"{kind} {host}:{port} answers no more", lambda: self.ask(client, kind, host, str(port), *words) is None, seconds)


def node_addresses(world):
    nodes = world.resource("v1", "nodes").list()["items"]
    return {node["metadata"]["name"]: one["address"] for node in nodes for one in node["status"]["addresses"] if one["type"] == "InternalIP" and ":" not in one["address"]}
