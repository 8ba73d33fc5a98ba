"""Names, as pods resolve them."""

from client import equal, eventually, meta
from registry import behaviour
from served_pods import Net

DNS = "[sig-network] DNS should "


def resolves(net, kind, name, wanted=None, client="querier", seconds=60):
    """Both by UDP and by TCP, with the search paths of the pod."""

    def look():
        said = net.ask(client, "names", kind, name)
        return said and (wanted is None or said.split("\n") == sorted(wanted))

    eventually(f"{kind} {name} is {wanted or 'there'}", look, seconds)


@behaviour(DNS + "provide DNS for the cluster")
def cluster(world):
    net = Net(world, "dns")
    ip = net.client("querier")["status"]["podIP"]
    resolves(net, "A", "kubernetes.default.svc.cluster.local", [world.resource("v1", "services", "default").get("kubernetes")["spec"]["clusterIP"]])
    resolves(net, "A", f"{ip.replace('.', '-')}.{net.namespace}.pod.cluster.local", [ip])


@behaviour(DNS + "provide /etc/hosts entries for the cluster")
def etc_hosts(world):
    net, name = Net(world, "dns"), "dns-test-service"
    pod = net.client("dns-test", hostname="dns-querier-1", subdomain=name)
    full = f"dns-querier-1.{name}.{net.namespace}.svc.cluster.local"
    hosts = [line.split() for line in net.exec("dns-test", "cat /etc/hosts").splitlines()]
    assert [pod["status"]["podIP"], full, "dns-querier-1"] in hosts, hosts
    for asked in (full, "dns-querier-1"):
        equal(net.exec("dns-test", f"python3 -c 'import socket; print(socket.gethostbyname(\"{asked}\"))'").strip(), pod["status"]["podIP"])


def two_services(net):
    """A headless one and one with an address before the same pod."""
    selector, port = {"dns-test": "true"}, {"name": "http", "port": 80, "protocol": "TCP"}
    net.service("dns-test-service", port, selector=selector, clusterIP="None")
    regular = net.service("test-service-2", port, selector=selector)
    net.server("backend", selector, hostname="dns-querier-1", subdomain="dns-test-service")
    ip = net.ready("backend")["status"]["podIP"]
    net.client("querier")
    return ip, regular["spec"]["clusterIP"]


@behaviour(DNS + "provide DNS for services")
def services(world):
    net = Net(world, "dns")
    pod, cluster_ip = two_services(net)
    space = f"{net.namespace}.svc.cluster.local"
    resolves(net, "A", f"dns-test-service.{space}", [pod])
    resolves(net, "A", f"test-service-2.{space}", [cluster_ip])
    resolves(net, "SRV", f"_http._tcp.dns-test-service.{space}", [f"0 100 80 dns-querier-1.dns-test-service.{space}."])
    resolves(net, "SRV", f"_http._tcp.test-service-2.{space}", [f"0 100 80 test-service-2.{space}."])
    reverse = ".".join(reversed(cluster_ip.split(".")))
    resolves(net, "PTR", f"{reverse}.in-addr.arpa.", [f"test-service-2.{space}."])
    # Of the endpoint of the headless one likewise, by the address of the pod.
    resolves(net, "PTR", f"{'.'.join(reversed(pod.split('.')))}.in-addr.arpa.", [f"dns-querier-1.dns-test-service.{space}."])


@behaviour(DNS + "resolve DNS of partial qualified names for services [LinuxOnly]")
def partial(world):
    net = Net(world, "dns")
    pod, cluster_ip = two_services(net)
    for tail in ("", f".{net.namespace}", f".{net.namespace}.svc"):
        resolves(net, "A", f"dns-test-service{tail}", [pod])
        resolves(net, "A", f"test-service-2{tail}", [cluster_ip])
        resolves(net, "SRV", f"_http._tcp.dns-test-service{tail}")
        resolves(net, "SRV", f"_http._tcp.test-service-2{tail}")
    said = net.exec("querier", "nslookup dns-test-service")
    assert pod in said, said


@behaviour(DNS + "provide DNS for pods for Hostname", DNS + "provide DNS for pods for Subdomain")
def host_names(world):
    net, name = Net(world, "dns"), "dns-test-service-2"
    net.service(name, {"name": "http", "port": 80}, selector={"dns-test-hostname-attribute": "true"}, clusterIP="None")
    pod = net.client("querier", labels={"dns-test-hostname-attribute": "true"}, hostname="dns-querier-2", subdomain=name)
    full, ip = f"dns-querier-2.{name}.{net.namespace}.svc.cluster.local", pod["status"]["podIP"]
    resolves(net, "A", full, [ip])
    resolves(net, "A", f"{name}.{net.namespace}.svc.cluster.local", [ip])
    equal(net.exec("querier", "hostname").strip(), "dns-querier-2")
    equal(net.exec("querier", "hostname -f").strip(), full)
    for asked in (full, "dns-querier-2"):
        equal(net.exec("querier", f"python3 -c 'import socket; print(socket.gethostbyname(\"{asked}\"))'").strip(), ip)


@behaviour(DNS + "provide DNS for ExternalName services")
def external(world):
    net, name = Net(world, "dns"), "dns-test-service-3"
    full = f"{name}.{net.namespace}.svc.cluster.local"
    net.service(name, type="ExternalName", externalName="foo.example.com")
    net.client("querier")
    resolves(net, "CNAME", full, ["foo.example.com."])
    net.services.change(name, lambda found: found["spec"].update(externalName="bar.example.com"))
    resolves(net, "CNAME", full, ["bar.example.com."])
    ports = [{"port": 80, "name": "http", "protocol": "TCP"}]
    changed = net.services.change(name, lambda found: found["spec"].update(type="ClusterIP", externalName="", ports=ports))
    resolves(net, "A", full, [changed["spec"]["clusterIP"]])


@behaviour(DNS + "support configurable pod DNS nameservers")
def configured(world):
    net = Net(world, "dns")
    net.client("test-dns-nameservers", dnsPolicy="None", dnsConfig={"nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"]})
    lines = [line.split() for line in net.exec("test-dns-nameservers", "cat /etc/resolv.conf").splitlines()]
    equal([line[1:] for line in lines if line[0] == "search"], [["resolv.conf.local"]])
    equal([line[1:] for line in lines if line[0] == "nameserver"], [["1.1.1.1"]])
