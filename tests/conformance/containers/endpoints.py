"""Endpoints and their slices, of pods and by hand."""

from client import equal, eventually, meta
from registry import behaviour
from served_pods import Net

MULTIPLE = "[sig-network] EndpointSlice should support a Service with multiple "


@behaviour(
    "[sig-network] EndpointsController should create Endpoints for Pods matching a Service",
    "[sig-network] EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service",
)
def matching(world):
    net = Net(world, "endpointslice")
    port = {"name": "example-name", "containerPort": 3000, "protocol": "TCP"}
    pods = {
        "pod1": ({"foo": "bar"}, port),
        "pod2": ({"foo": "bar"}, {**port, "containerPort": 3001}),
    }
    made = {
        "example-int-port": net.service("example-int-port", {"name": "example", "port": 80, "targetPort": 3000, "protocol": "TCP"}, selector={"foo": "bar"}, publishNotReadyAddresses=True),
        "example-named-port": net.service("example-named-port", {"name": "http", "port": 80, "targetPort": "example-name", "protocol": "TCP"}, selector={"foo": "bar"}, publishNotReadyAddresses=True),
        "example-no-match": net.service("example-no-match", {"name": "example-no-match", "port": 80, "targetPort": 8080}, selector={"foo": "nothing"}, publishNotReadyAddresses=True),
    }
    for name, (labels, ports) in pods.items():
        net.create(name, net.container(ports=[ports]), labels=labels)
    found = {name: net.wait(name, "has an address", lambda pod: pod["status"].get("podIP")) for name in pods}

    def target(pod):
        return {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": net.namespace, "uid": pod["metadata"]["uid"]}

    def expect(service, ports_of):
        """Of both documents: address, target, node, number and name of the port, and the owner of slices."""
        name = made[service]["spec"]["ports"][0]["name"]
        wanted = sorted((found[pod]["status"]["podIP"], found[pod]["metadata"]["uid"], found[pod]["spec"]["nodeName"], port, name) for pod, port in ports_of.items())

        def by_endpoints():
            said = []
            for subset in net.endpoints.get(service).get("subsets") or []:
                for one in subset.get("addresses") or []:
                    said += [(one["ip"], one["targetRef"]["uid"], one["nodeName"], port["port"], port["name"]) for port in subset["ports"]]
                    assert {key: one["targetRef"].get(key) for key in ("kind", "namespace")} == {"kind": "Pod", "namespace": net.namespace}, one
            return sorted(said)

        def pieces():
            return net.slices.list(labelSelector=f"kubernetes.io/service-name={service}")["items"]

        def by_slices():
            said = []
            for piece in pieces():
                equal(piece["addressType"], "IPv4")
                equal(piece["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"], "endpointslice-controller.k8s.io")
                equal([(owner["kind"], owner["uid"], owner["controller"]) for owner in piece["metadata"]["ownerReferences"]], [("Service", made[service]["metadata"]["uid"], True)])
                for one in piece["endpoints"] or []:
                    said += [(one["addresses"][0], one["targetRef"]["uid"], one["nodeName"], port["port"], port["name"]) for port in piece["ports"]]
                    equal({key: one["targetRef"].get(key) for key in ("kind", "name", "namespace", "uid")}, target(found[one["targetRef"]["name"]]))
            return sorted(said)

        eventually(f"endpoints of {service}", lambda: by_endpoints() == wanted, 60)
        eventually(f"slices of {service}", lambda: by_slices() == wanted, 60)
        eventually("as many slices as kinds of ports, at least one", lambda: len(pieces()) == max(1, len(set(ports_of.values()))), 60)

    expect("example-int-port", {"pod1": 3000, "pod2": 3000})
    expect("example-named-port", {"pod1": 3000, "pod2": 3001})
    expect("example-no-match", {})
    # Objects that are taken away come again, and those of services that go away go with them.
    net.endpoints.delete("example-int-port")
    for name in net.slices.names(labelSelector="kubernetes.io/service-name=example-int-port"):
        net.slices.delete(name)
    expect("example-int-port", {"pod1": 3000, "pod2": 3000})
    net.services.delete("example-int-port")
    eventually("they go", lambda: not net.endpoints.exists("example-int-port") and not net.slices.list(labelSelector="kubernetes.io/service-name=example-int-port")["items"], 60)


def by_hand(net, service, name, address, port_name, port):
    labels = {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "e2e-test" + net.namespace}
    ports = [{"name": port_name, "port": port, "protocol": "TCP"}]
    body = {"metadata": meta(name, labels), "addressType": "IPv4", "endpoints": [{"addresses": [address]}], "ports": ports}
    return net.slices.create(body)


@behaviour(MULTIPLE + "endpoint IPs specified in multiple EndpointSlices", MULTIPLE + "ports specified in multiple EndpointSlices")
def several(world):
    net = Net(world, "endpointslice")
    for name, ports in (("pod1", "8090,8091"), ("pod2", "8091")):
        net.server(name, http=ports)
    first, second = (net.ready(name)["status"]["podIP"] for name in ("pod1", "pod2"))
    net.client()
    service = net.service("example-custom-endpoints", {"name": "port80", "port": 80}, {"name": "port81", "port": 81})
    by_hand(net, "example-custom-endpoints", "example-custom-endpoints-1", first, "port80", 8090)
    by_hand(net, "example-custom-endpoints", "example-custom-endpoints-2", second, "port81", 8091)
    net.reaches("execpod", service["spec"]["clusterIP"], 80, ["pod1"])
    net.reaches("execpod", "example-custom-endpoints", 81, ["pod2"])
    service = net.service("one-port", {"name": "http", "port": 80})
    by_hand(net, "one-port", "one-port-1", first, "http", 8090)
    by_hand(net, "one-port", "one-port-2", second, "http", 8091)
    net.reaches("execpod", service["spec"]["clusterIP"], 80, ["pod1", "pod2"])
    service = net.service("one-pod", {"name": "port80", "port": 80}, {"name": "port81", "port": 81})
    by_hand(net, "one-pod", "one-pod-1", first, "port80", 8090)
    by_hand(net, "one-pod", "one-pod-2", first, "port81", 8091)
    for port in (80, 81):
        net.reaches("execpod", service["spec"]["clusterIP"], port, ["pod1"])
