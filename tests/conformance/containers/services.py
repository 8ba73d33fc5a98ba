"""Services: what leads to their pods, by cluster addresses, node ports and names."""

import time

from client import equal, eventually, meta
from registry import behaviour
from served_pods import Net, node_addresses

SERVICES = "[sig-network] Services should "


def reachable(net, service, names):
    """By name, cluster address and every node's port."""
    port = service["spec"]["ports"][0]
    net.client()
    net.reaches("execpod", service["metadata"]["name"], port["port"], names)
    net.reaches("execpod", service["spec"]["clusterIP"], port["port"], names)
    if service["spec"]["type"] == "NodePort":
        for address in node_addresses(net.world).values():
            net.reaches("execpod", address, port["nodePort"], names)


@behaviour(SERVICES + "be able to create a functioning NodePort service")
def node_port(world):
    net = Net(world, "services")
    service = net.service("nodeport-test", {"port": 80, "targetPort": 9376, "protocol": "TCP"}, selector={"name": "nodeport-test"}, type="NodePort")
    reachable(net, service, net.controller("nodeport-test", 2))


def external_to(kind):
    @behaviour(SERVICES + f"be able to change the type from ExternalName to {kind}")
    def changed(world):
        net, name = Net(world, "services"), "externalname-service"
        service = net.service(name, type="ExternalName", externalName="foo.example.com")
        assert "clusterIP" not in service["spec"] or not service["spec"]["clusterIP"], service
        names = net.controller(name, 2)

        def change(found):
            found["spec"].update(type=kind, ports=[{"port": 80, "name": "http", "protocol": "TCP", "targetPort": 9376}], selector={"name": name})
            found["spec"]["externalName"] = ""

        service = net.services.change(name, change)
        assert service["spec"]["clusterIP"] not in ("", "None"), service
        reachable(net, service, names)


external_to("ClusterIP")
external_to("NodePort")


def to_external(kind):
    @behaviour(SERVICES + f"be able to change the type from {kind} to ExternalName")
    def changed(world):
        net = Net(world, "services")
        name = f"{kind.lower()}-service"
        service = net.service(name, {"port": 80, "targetPort": 9376}, selector={"name": name}, type=kind)
        assert service["spec"]["clusterIP"] not in ("", "None"), service
        there = net.service("externalsvc", {"port": 80, "targetPort": 9376}, selector={"name": "externalsvc"})
        net.controller("externalsvc", 2)

        def change(found):
            found["spec"].update(type="ExternalName", externalName=f"externalsvc.{net.namespace}.svc.cluster.local")

        changed = net.services.change(name, change)
        assert not changed["spec"].get("clusterIP"), changed
        assert not any(port.get("nodePort") for port in changed["spec"].get("ports", [])), changed
        net.client()
        full = f"{name}.{net.namespace}.svc.cluster.local"
        eventually("its name leads on", lambda: net.ask("execpod", "names", "A", full + ".") == there["spec"]["clusterIP"], 60)
        eventually("as nslookup sees it", lambda: there["spec"]["clusterIP"] in net.exec("execpod", f"nslookup {full}"), 60)


to_external("ClusterIP")
to_external("NodePort")


def affinity(kind, transition):
    title = "be able to switch session affinity for " if transition else "have session affinity work for "
    kind_title = "service with type clusterIP" if kind == "ClusterIP" else "NodePort service"

    @behaviour(SERVICES + title + kind_title + " [LinuxOnly]")
    def held(world):
        net, name = Net(world, "services"), f"affinity-{kind.lower()}"
        service = net.service(name, {"port": 80, "targetPort": 9376}, selector={"name": name}, type=kind, sessionAffinity="ClientIP")
        names = net.controller(name, 3)
        net.client()
        nodes = node_addresses(world)
        port = service["spec"]["ports"][0]
        at = (nodes[sorted(nodes)[0]], port["nodePort"]) if kind == "NodePort" else (service["spec"]["clusterIP"], port["port"])
        net.reaches("execpod", *at)

        def holds(wanted):
            """Fifteen requests at once, as upstream sends them, again until they are as wanted."""
            command = f"for i in $(seq 15); do python3 /served/ask.py http http://{at[0]}:{at[1]}/hostname; done"

            def look():
                said = net.exec("execpod", command).split()
                assert set(said) <= set(names) or not wanted, said
                return len(said) == 15 and (len(set(said)) == 1) == wanted

            eventually(f"requests {'stay' if wanted else 'are spread'}", look, 60)

        if transition:
            net.services.change(name, lambda found: found["spec"].update(sessionAffinity="None"))
            holds(False)
            net.services.change(name, lambda found: found["spec"].update(sessionAffinity="ClientIP"))
        holds(True)


for given_kind in ("ClusterIP", "NodePort"):
    for given_transition in (False, True):
        affinity(given_kind, given_transition)


def told(net, service, wanted):
    """The endpoints of a service and its slices: the ports of each pod."""

    def addresses_of(pods):
        return {net.resource.get(pod)["status"].get("podIP"): sorted(ports) for pod, ports in pods.items()}

    def by_endpoints():
        found = {}
        for subset in net.endpoints.get(service).get("subsets") or []:
            for one in subset.get("addresses") or []:
                found.setdefault(one["ip"], []).extend(port["port"] for port in subset["ports"])
        return {ip: sorted(ports) for ip, ports in found.items()}

    def by_slices():
        found = {}
        for piece in net.slices.list(labelSelector=f"kubernetes.io/service-name={service}")["items"]:
            for one in piece["endpoints"] or []:
                if one["conditions"].get("ready"):
                    found.setdefault(one["addresses"][0], []).extend(port["port"] for port in piece["ports"] or [])
        return {ip: sorted(ports) for ip, ports in found.items()}

    eventually(f"endpoints {wanted}", lambda: by_endpoints() == addresses_of(wanted), 60)
    eventually(f"slices {wanted}", lambda: by_slices() == addresses_of(wanted), 60)


@behaviour(SERVICES + "serve a basic endpoint from pods")
def basic(world):
    net, name = Net(world, "services"), "endpoint-test2"
    labels = {"name": name}
    service = net.service(name, {"port": 80, "targetPort": 80}, selector=labels)
    told(net, name, {})
    net.client()
    wanted = {}
    for step, pod in (("+", "pod1"), ("+", "pod2"), ("-", "pod1"), ("-", "pod2")):
        if step == "+":
            net.server(pod, labels, ports=[{"containerPort": 80}])
            wanted[pod] = [80]
        else:
            net.resource.delete(pod)
            del wanted[pod]
        told(net, name, wanted)
        if wanted:
            net.reaches("execpod", name, 80, wanted)
            net.reaches("execpod", service["spec"]["clusterIP"], 80, wanted)
    net.refuses("execpod", "tcp", service["spec"]["clusterIP"], 80)


@behaviour(SERVICES + "serve multiport endpoints from pods")
def multiport(world):
    net, name = Net(world, "services"), "multi-endpoint-test"
    labels = {"name": name}
    ports = [{"name": f"portname{number}", "port": 79 + number, "targetPort": f"svc{number}"} for number in (1, 2)]
    service = net.service(name, *ports, selector=labels)
    told(net, name, {})
    net.client()
    wanted = {}
    for number in (1, 2):
        net.server(f"pod{number}", labels, http=str(99 + number), ports=[{"name": f"svc{number}", "containerPort": 99 + number}])
        wanted[f"pod{number}"] = [99 + number]
        told(net, name, wanted)
        for service_port in range(80, 80 + number):
            net.reaches("execpod", service["spec"]["clusterIP"], service_port, [f"pod{service_port - 79}"])
    for number in (1, 2):
        net.resource.delete(f"pod{number}")
        del wanted[f"pod{number}"]
        told(net, name, wanted)


@behaviour(SERVICES + "serve endpoints on same port and different protocols")
def both_protocols(world):
    net, name = Net(world, "services"), "multiprotocol-test"
    labels = {"app": name}
    ports = {kind: {"name": f"{kind.lower()}-port", "port": 80, "protocol": kind} for kind in ("TCP", "UDP")}
    service = net.service(name, *ports.values(), selector=labels)
    net.server("pod1", labels, udp="80", ports=[{"containerPort": 80, "protocol": kind} for kind in ports])
    told(net, name, {"pod1": [80, 80]})
    net.client()
    address = service["spec"]["clusterIP"]

    def answers(kind):
        words = ("http", f"http://{address}:80/hostname") if kind == "TCP" else ("udp", address, "80", "hostname")
        eventually(f"{kind} answers", lambda: net.ask("execpod", *words) == "pod1", 60)

    answers("TCP")
    answers("UDP")
    for kept, dropped in (("TCP", "UDP"), ("UDP", "TCP")):
        changed = net.services.change(name, lambda found, kept=kept: found["spec"].update(ports=[ports[kept]]))
        equal(changed["spec"]["clusterIP"], address)
        told(net, name, {"pod1": [80]})
        answers(kept)
        net.refuses("execpod", dropped.lower(), address, 80, *(["hostname"] if dropped == "UDP" else []))


@behaviour("[sig-network] Service endpoints latency should not be very high")
def latency(world):
    net, name = Net(world, "svc-latency"), "svc-latency-rc"
    net.controller(name, 1)
    watch = net.endpoints.watch(resourceVersion=net.endpoints.list()["metadata"]["resourceVersion"])
    took = []
    for number in range(100):
        begun, service = time.monotonic(), f"latency-svc-{number}"
        net.services.create({"metadata": meta(service), "spec": {"ports": [{"port": 80}], "selector": {"name": name}}})
        watch.until(lambda event, service=service: event["object"]["metadata"]["name"] == service and event["object"].get("subsets"))
        took.append(time.monotonic() - begun)
    took.sort()
    assert took[50] < 20 and took[90] < 30 and took[99] < 50, (took[50], took[90], took[99])
