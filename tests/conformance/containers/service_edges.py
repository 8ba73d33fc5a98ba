"""What Kubernetes tests of services beyond conformance: sources, hairpins, traffic policies, endpoints that end or are not ready."""

from client import equal, eventually
from registry import behaviour
from served_pods import Net, node_addresses

SERVICES = "[sig-network] Services should "


@behaviour(SERVICES + "have session affinity timeout work for service with type clusterIP [LinuxOnly]")
def affinity_ends(world):
    net, name = Net(world, "services"), "affinity-clusterip-timeout"
    config = {"clientIP": {"timeoutSeconds": 5}}
    service = net.service(name, {"port": 80, "targetPort": 9376}, selector={"name": name}, sessionAffinity="ClientIP", sessionAffinityConfig=config)
    net.controller(name, 3)
    net.client()
    url = f"http://{service['spec']['clusterIP']}:80/hostname"

    def asked(pause):
        return net.exec("execpod", f"for i in 1 2 3 4 5; do python3 /served/ask.py http {url}; sleep {pause}; done").split()

    net.reaches("execpod", service["spec"]["clusterIP"], 80)
    equal(len(set(asked(0))), 1)
    eventually("after the timeout another answers", lambda: len(set(asked(6))) > 1, 120)


@behaviour(SERVICES + "allow pods to hairpin back to themselves through services")
def hairpin(world):
    net, labels = Net(world, "services"), {"app": "hairpin"}
    service = net.service("hairpin-test", {"port": 8080, "targetPort": 8080}, selector=labels, type="NodePort")
    net.server("hairpin", labels, http="8080", udp="8080")
    node = net.ready("hairpin")["spec"]["nodeName"]
    net.reaches("hairpin", service["spec"]["clusterIP"], 8080, ["hairpin"])
    net.reaches("hairpin", "hairpin-test", 8080, ["hairpin"])
    net.reaches("hairpin", node_addresses(world)[node], service["spec"]["ports"][0]["nodePort"], ["hairpin"])


@behaviour(SERVICES + "preserve source pod IP for traffic thru service cluster IP [LinuxOnly]")
def source(world):
    net, labels = Net(world, "services"), {"app": "sourceip"}
    service = net.service("sourceip-test", {"port": 8080, "targetPort": 8080}, selector=labels)
    nodes = sorted(node_addresses(world))
    net.server("echo-sourceip", labels, http="8080", nodeName=nodes[0])
    net.ready("echo-sourceip")
    for number, node in enumerate(nodes):
        ip = net.client(f"pause-{number}", nodeName=node)["status"]["podIP"]
        asked = ("http", f"http://{service['spec']['clusterIP']}:8080/clientip")
        eventually(f"from {node}", lambda asked=asked, number=number: net.ask(f"pause-{number}", *asked), 30)
        equal((node, net.ask(f"pause-{number}", *asked).rpartition(":")[0]), (node, ip))


@behaviour(SERVICES + "be rejected when no endpoints exist")
def rejected(world):
    net = Net(world, "services")
    service = net.service("no-pods", {"port": 80, "targetPort": 80}, selector={"none": "none"}, type="NodePort")
    net.client()
    connect = "import socket,sys; s=socket.socket(); s.settimeout(3); print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
    node, port = next(iter(node_addresses(world).values())), service["spec"]["ports"][0]
    for address, number in ((service["spec"]["clusterIP"], 80), (node, port["nodePort"])):
        eventually(f"{address}:{number} refuses", lambda address=address, number=number: net.exec("execpod", f"python3 -c '{connect}' {address} {number}").strip() == "111", 30)


@behaviour(SERVICES + "respect internalTrafficPolicy=Local Pod to Pod", SERVICES + "respect internalTrafficPolicy=Local Pod and Node, to Pod (hostNetwork: true)")
def local_only(world):
    net, labels = Net(world, "services"), {"app": "itp"}
    service = net.service("svc-itp", {"port": 80, "targetPort": 80}, selector=labels, internalTrafficPolicy="Local")
    nodes = sorted(node_addresses(world))
    net.server("echo-hostname-0", labels, nodeName=nodes[0])
    net.ready("echo-hostname-0")
    address = service["spec"]["clusterIP"]
    for number, node in enumerate(nodes[:2]):
        for kind, spec in (("pod", {}), ("host", {"hostNetwork": True})):
            client = f"pause-{kind}-{number}"
            net.client(client, nodeName=node, **spec)
            if number == 0:
                net.reaches(client, address, 80, ["echo-hostname-0"])
            else:
                net.refuses(client, "tcp", address, 80, seconds=10)


def terminating(policy):
    title = {"Cluster": "fallback to terminating endpoints", "Local": "fallback to local terminating endpoints"}[policy]

    @behaviour(SERVICES + f"{title} when there are no ready endpoints with internalTrafficPolicy={policy}")
    def last(world):
        net, labels = Net(world, "services"), {"app": "ending"}
        service = net.service("ending", {"port": 80, "targetPort": 80}, selector=labels, internalTrafficPolicy=policy)
        nodes = sorted(node_addresses(world))
        stays = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", "60"]}}}}
        net.server("ending", labels, options=stays, nodeName=nodes[0], terminationGracePeriodSeconds=60)
        net.ready("ending")
        for number, node in enumerate(nodes[:2]):
            net.client(f"pause-{number}", nodeName=node)
        net.reaches("pause-0", service["spec"]["clusterIP"], 80, ["ending"])
        net.resource.delete("ending")
        world.after(lambda: net.resource.delete("ending", gracePeriodSeconds=0))

        def ends():
            found = net.slices.list(labelSelector="kubernetes.io/service-name=ending")["items"]
            conditions = [one["conditions"] for piece in found for one in piece["endpoints"] or []]
            return conditions == [{"ready": False, "serving": True, "terminating": True}]

        eventually("its endpoint ends but serves", ends, 30)
        for _ in range(5):
            equal(net.ask("pause-0", "http", f"http://{service['spec']['clusterIP']}:80/hostname"), "ending")
        if policy == "Cluster":
            net.reaches("pause-1", service["spec"]["clusterIP"], 80, ["ending"])
        else:
            net.refuses("pause-1", "tcp", service["spec"]["clusterIP"], 80, seconds=10)


terminating("Cluster")
terminating("Local")


@behaviour(SERVICES + "create endpoints for unready pods")
def unready(world):
    net, labels = Net(world, "services"), {"name": "slow-terminating-unready-pod"}
    net.service("tolerate-unready", {"name": "http", "port": 80, "targetPort": 80}, selector=labels, publishNotReadyAddresses=True)
    never = {"readinessProbe": {"exec": {"command": ["/bin/false"]}}, "lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", "60"]}}}}
    net.server("unready", labels, probed=False, options=never, terminationGracePeriodSeconds=60)
    net.client()
    net.reaches("execpod", "tolerate-unready", 80, ["unready"])
    net.services.change("tolerate-unready", lambda found: found["spec"].update(publishNotReadyAddresses=False))
    net.refuses("execpod", "tcp", "tolerate-unready", 80)
    net.services.change("tolerate-unready", lambda found: found["spec"].update(publishNotReadyAddresses=True))
    net.reaches("execpod", "tolerate-unready", 80, ["unready"])
    net.resource.delete("unready")
    world.after(lambda: net.resource.delete("unready", gracePeriodSeconds=0))
    net.reaches("execpod", "tolerate-unready", 80, ["unready"])


@behaviour("[sig-network] Conntrack should be able to preserve UDP traffic when server pod cycles for a ClusterIP service")
def udp_cycles(world):
    net, labels = Net(world, "conntrack"), {"udp": "server"}
    nodes = sorted(node_addresses(world))
    service = net.service("svc-udp", {"name": "udp", "port": 80, "protocol": "UDP", "targetPort": 80}, selector=labels)
    # One source port for all that is sent, as the kernel remembers ways by it.
    talk = f"""import socket,time
s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 12345)); s.settimeout(1)
while True:
    try:
        s.sendto(b"hostname", ("{service['spec']['clusterIP']}", 80)); print(s.recv(100).decode(), flush=True)
    except OSError as error:
        print(error, flush=True)
    time.sleep(1)"""
    net.create("pod-client", {"name": "main", "image": world.image, "command": ["python3", "-uc", talk]}, nodeName=nodes[0])
    net.ready("pod-client")
    for number, name in enumerate(("pod-server-1", "pod-server-2")):
        net.server(name, labels, udp="80", nodeName=nodes[number % len(nodes)])
        net.ready(name)
        if number:
            net.resource.delete("pod-server-1", gracePeriodSeconds=0)
        eventually(f"{name} answers", lambda name=name: name in net.logs("pod-client"), 60)
    eventually("and it alone", lambda: set(net.logs("pod-client").split("\n")[-5:-1]) == {"pod-server-2"}, 60)


@behaviour("[sig-network] Services should lead from every node's port to pods of every node")
def every_way(world):
    """Not Kubernetes' own title: of its tests with node ports, chance decides which ways they go."""
    net, nodes = Net(world, "services"), node_addresses(world)
    ports = {}
    for number, node in enumerate(sorted(nodes)[:2]):
        labels = {"server": f"server-{number}"}
        made = net.service(labels["server"], {"port": 80, "targetPort": 80}, selector=labels, type="NodePort")
        ports[labels["server"]] = made["spec"]["ports"][0]["nodePort"]
        net.server(labels["server"], labels, nodeName=node)
        net.ready(labels["server"])
        for kind, spec in (("pod", {}), ("host", {"hostNetwork": True})):
            net.client(f"{kind}-{number}", nodeName=node, **spec)
    for client in ("pod-0", "pod-1", "host-0", "host-1"):
        for address in nodes.values():
            for server, port in ports.items():
                net.reaches(client, address, port, [server], seconds=20)
