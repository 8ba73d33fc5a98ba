"""Pods reach pods, from pods and from nodes; ports of hosts."""

from client import equal, eventually
from registry import behaviour
from served_pods import Net, node_addresses

GRANULAR = "[sig-network] Networking Granular Checks: Pods should function for "


def granular(way, protocol):
    tags = " [LinuxOnly]" if way == "node-pod" else ""

    @behaviour(GRANULAR + f"{way} communication: {protocol}{tags} [NodeConformance]")
    def reached(world):
        net = Net(world, "pod-network-test")
        nodes = sorted(node_addresses(world))
        probe = {"httpGet": {"path": "/healthz", "port": 8083}, "initialDelaySeconds": 1, "timeoutSeconds": 30, "periodSeconds": 10, "failureThreshold": 3}
        ports = [{"containerPort": 8083, "name": "http"}, {"containerPort": 8081, "protocol": "UDP", "name": "udp"}]
        for number, node in enumerate(nodes):
            options = {"livenessProbe": probe, "readinessProbe": probe}
            net.server(f"netserver-{number}", http="8083", udp="8081", ports=ports, options=options, nodeSelector={"kubernetes.io/hostname": node})
        clients = {f"client-{number}": {"hostNetwork": way == "node-pod", "nodeName": node} for number, node in enumerate(nodes)}
        for client, spec in clients.items():
            net.client(client, **spec)
        for number in range(len(nodes)):
            name = f"netserver-{number}"
            ip = net.ready(name)["status"]["podIP"]
            words = ("http", f"http://{ip}:8083/hostName") if protocol == "http" else ("udp", ip, "8081", "hostName")
            for client in clients:
                eventually(f"{name} from {client}", lambda client=client, words=words, name=name: net.ask(client, *words) == name, 60)


for given_way in ("intra-pod", "node-pod"):
    for given_protocol in ("http", "udp"):
        granular(given_way, given_protocol)


@behaviour("[sig-network] HostPort validates that there is no conflict between pods with same hostPort but different hostIP and protocol [LinuxOnly]")
def host_ports(world):
    net, port = Net(world, "hostport"), 54323
    node, address = sorted(node_addresses(world).items())[-1]
    for name, ip, protocol in (("pod1", "127.0.0.1", "TCP"), ("pod2", address, "TCP"), ("pod3", address, "UDP")):
        ports = [{"hostPort": port, "hostIP": ip, "containerPort": 8080, "protocol": protocol}]
        net.server(name, http="8080", udp="8080", ports=ports, nodeSelector={"kubernetes.io/hostname": node})
        net.ready(name)
    net.client("e2e-host-exec", hostNetwork=True, nodeName=node)
    asked = {
        "pod1": ("http", f"http://127.0.0.1:{port}/hostname", address),
        "pod2": ("http", f"http://{address}:{port}/hostname"),
        "pod3": ("udp", address, str(port), "hostname"),
    }
    for name, words in asked.items():
        eventually(f"{name} at its host's port", lambda words=words, name=name: net.ask("e2e-host-exec", *words) == name, 60)
    # From a pod of the other node, too: only what listens on the node's address.
    net.client("other", nodeName=sorted(node_addresses(world))[0])
    equal(net.ask("other", *asked["pod2"]), "pod2")
    equal(net.ask("other", *asked["pod3"]), "pod3")
