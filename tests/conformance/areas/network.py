"""Services, endpoints, ingresses and addresses as objects."""

from client import STRATEGIC, equal, eventually, meta, refused
from lifecycle import discovered, lifecycle, status_lifecycle
from registry import behaviour, unique

SERVICE_NAME = "kubernetes.io/service-name"
NETWORKING, DISCOVERY = "networking.k8s.io/v1", "discovery.k8s.io/v1"


def service(name, labels=None, **spec):
    body = {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, labels)}
    return {**body, "spec": {"ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 80}], **spec}}


def slices_of(world, namespace, name):
    return world.resource(DISCOVERY, "endpointslices", namespace).list(labelSelector=f"{SERVICE_NAME}={name}")["items"]


@behaviour("[sig-network] API Server should have Endpoints and EndpointSlices pointing to API Server")
def endpoints_of_the_server(world):
    found = world.resource("v1", "services", "default").get("kubernetes")
    assert found["spec"]["clusterIP"] not in ("", "None"), found
    endpoints = world.resource("v1", "endpoints", "default").get("kubernetes")
    assert len(endpoints["subsets"]) == 1 and endpoints["subsets"][0]["addresses"], endpoints
    slices = slices_of(world, "default", "kubernetes")
    assert slices, "no EndpointSlice of the kubernetes service"
    addresses = {address["ip"] for address in endpoints["subsets"][0]["addresses"]}
    equal({address for part in slices for endpoint in part["endpoints"] for address in endpoint["addresses"]}, addresses)
    for part in slices:
        equal([port["port"] for port in part["ports"]], [port["port"] for port in endpoints["subsets"][0]["ports"]])


@behaviour("[sig-network] API Server should provide secure master service")
def master_service(world):
    world.resource("v1", "services", "default").get("kubernetes")


@behaviour("[sig-network] Services should find a service from listing all namespaces")
def listed_everywhere(world):
    found = world.resource("v1", "services").list()["items"]
    assert ("default", "kubernetes") in [(s["metadata"]["namespace"], s["metadata"]["name"]) for s in found]


@behaviour("[sig-network] Services should complete a service status lifecycle")
def service_status(world):
    namespace, label = world.namespace("services"), {"test-service-static": "true"}
    services = world.resource("v1", "services", namespace)
    watch = services.watch(labelSelector="test-service-static=true")
    services.create(service("test-service", label, type="LoadBalancer"))
    equal(watch.next()["type"], "ADDED")
    equal(len(world.resource("v1", "services").list(labelSelector="test-service-static=true", fieldSelector=f"metadata.namespace={namespace}")["items"]), 1)
    equal(services.get("test-service", "status")["status"], {"loadBalancer": {}})
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    patched = services.patch("test-service", patch, "status")
    equal(patched["metadata"]["annotations"]["patchedstatus"], "true")
    equal([i["ip"] for i in patched["status"]["loadBalancer"]["ingress"]], ["203.0.113.1"])
    watch.until(lambda event: event["object"]["metadata"].get("annotations", {}).get("patchedstatus") == "true")
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    add = lambda body: body["status"].setdefault("conditions", []).append(condition)  # noqa: E731
    updated = services.change("test-service", add, "status")
    equal(updated["status"]["conditions"][0]["type"], "StatusUpdate")
    watch.until(lambda event: event["object"]["status"].get("conditions"))
    services.patch("test-service", {"metadata": {"labels": {"test-service": "patched"}}}, kind=STRATEGIC)
    watch.until(lambda event: event["object"]["metadata"]["labels"].get("test-service") == "patched")
    services.delete("test-service")
    watch.until(lambda event: event["type"] == "DELETED")
    watch.close()


@behaviour("[sig-network] Services should delete a collection of services")
def service_collection(world):
    services, label = world.resource("v1", "services", world.namespace("services")), unique("service")
    services.create(service("e2e-svc-a", {"e2e": label}))
    services.create(service("e2e-svc-b", {"e2e": label}))
    services.create(service("e2e-svc-c", {"e2e": "other"}))
    equal(len(services.list()["items"]), 3)
    services.delete_collection(labelSelector=f"e2e={label}")
    equal(services.names(), ["e2e-svc-c"])


@behaviour("[sig-network] EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods")
def empty_slices(world):
    namespace = world.namespace("endpointslice")
    services = world.resource("v1", "services", namespace)
    services.create(service("example-empty-selector", selector={"does-not-match-anything": "endpoints-should-be-empty"}))
    eventually("there is a slice", lambda: slices_of(world, namespace, "example-empty-selector"))
    equal([part.get("endpoints") or [] for part in slices_of(world, namespace, "example-empty-selector")], [[]])
    services.delete("example-empty-selector")
    eventually("the slices are gone", lambda: not slices_of(world, namespace, "example-empty-selector"))


@behaviour("[sig-network] EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods")
def empty_endpoints(world):
    namespace = world.namespace("endpoints")
    services, endpoints = world.resource("v1", "services", namespace), world.resource("v1", "endpoints", namespace)
    services.create(service("example-empty-selector", selector={"does-not-match-anything": "endpoints-should-be-empty"}))
    eventually("there are endpoints", lambda: endpoints.exists("example-empty-selector"))
    equal(endpoints.get("example-empty-selector").get("subsets") or [], [])
    services.delete("example-empty-selector")
    eventually("they are gone", lambda: not endpoints.exists("example-empty-selector"))


@behaviour("[sig-network] EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete")
def mirrored(world):
    namespace, name = world.namespace("mirroring"), "example-custom-endpoints"
    world.resource("v1", "services", namespace).create(service(name))
    endpoints = world.resource("v1", "endpoints", namespace)
    body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta(name)}

    def at(address):
        return {**body, "subsets": [{"ports": [{"port": 80}], "addresses": [{"ip": address}]}]}

    def mirrors(address):
        parts = slices_of(world, namespace, name)
        found = [[port["port"] for port in part["ports"]] for part in parts], [e["addresses"] for part in parts for e in part["endpoints"]]
        return found == ([[80]], [[address]])

    endpoints.create(at("10.1.2.3"))
    eventually("the endpoints are mirrored", lambda: mirrors("10.1.2.3"))
    endpoints.update(at("10.2.3.4"))
    eventually("the change is mirrored", lambda: mirrors("10.2.3.4"))
    endpoints.delete(name)
    eventually("the mirror is gone", lambda: not slices_of(world, namespace, name))


@behaviour("[sig-network] Endpoints should test the lifecycle of an Endpoint")
def endpoints_lifecycle(world):
    namespace = world.namespace("services")
    endpoints = world.resource("v1", "endpoints", namespace)
    subset = {"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    labels = {"test-endpoint-static": "true"}
    watch = endpoints.watch(labelSelector="test-endpoint-static=true")
    endpoints.create({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta("testservice", labels), "subsets": [subset]})
    equal(watch.next()["type"], "ADDED")
    assert world.resource("v1", "endpoints").list(labelSelector="test-endpoint-static=true")["items"]
    endpoints.change("testservice", lambda body: body["metadata"]["labels"].update({"test-service": "updated"}))
    equal(watch.until(lambda event: event["type"] == "MODIFIED")["object"]["metadata"]["labels"]["test-service"], "updated")
    patch = {"metadata": {"labels": {"test-service": "patched"}}}
    patch["subsets"] = [{"addresses": [{"ip": "10.0.0.25"}], "ports": [{"name": "http-test", "port": 8080}]}]
    patched = endpoints.patch("testservice", patch, kind=STRATEGIC)
    equal((patched["subsets"][0]["addresses"][0]["ip"], patched["subsets"][0]["ports"][0]["port"]), ("10.0.0.25", 8080))
    equal(endpoints.get("testservice")["metadata"]["labels"]["test-service"], "patched")
    endpoints.delete_collection(labelSelector="test-endpoint-static=true")
    watch.until(lambda event: event["type"] == "DELETED")
    refused(404, lambda: endpoints.get("testservice"))
    watch.close()


@behaviour("[sig-network] EndpointSlice should support creating EndpointSlice API operations")
def endpoint_slices(world):
    body = {"apiVersion": DISCOVERY, "kind": "EndpointSlice", "metadata": meta("e2e-example-ing"), "addressType": "IPv4"}
    body["endpoints"] = [{"addresses": ["1.2.3.4", "5.6.7.8"]}]
    lifecycle(world, DISCOVERY, "endpointslices", body, world.namespace("endpointslice"))


@behaviour("[sig-network] IngressClass API should support creating IngressClass API operations")
def ingress_classes(world):
    body = {"apiVersion": NETWORKING, "kind": "IngressClass", "metadata": meta("ingressclass"), "spec": {"controller": "e2e.example.com/controller"}}
    lifecycle(world, NETWORKING, "ingressclasses", body)


@behaviour("[sig-network] Ingress API should support creating Ingress API operations")
def ingresses(world):
    namespace = world.namespace("ingress")
    backend = {"service": {"name": "default-backend", "port": {"number": 8080}}}
    path = {"path": "/", "pathType": "ImplementationSpecific", "backend": {"service": {"name": "test-backend", "port": {"number": 8080}}}}
    body = {"apiVersion": NETWORKING, "kind": "Ingress", "metadata": meta("e2e-example-ing")}
    body["spec"] = {"defaultBackend": backend, "rules": [{"host": "foo.bar.com", "http": {"paths": [path]}}]}
    lifecycle(world, NETWORKING, "ingresses", body, namespace)
    body["metadata"] = meta("status")
    changed = lambda status: status["loadBalancer"]["ingress"] == [{"ip": "169.1.1.1"}]  # noqa: E731
    status_lifecycle(world, NETWORKING, "ingresses", body, {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}, changed, namespace)


@behaviour("[sig-network] ServiceCIDR and IPAddress API should support IPAddress API operations")
def ip_addresses(world):
    """An address is its own name, so three of them stand for three that are generated."""
    discovered(world, NETWORKING, "ipaddresses")
    resource, label = world.resource(NETWORKING, "ipaddresses"), unique("address")
    names = ["192.168.7.11", "192.168.7.12", "192.168.7.13"]
    world.after(lambda: resource.delete_collection(labelSelector=f"ip-test={label}"))
    for name in names:
        parent = {"group": "", "resource": "services", "namespace": "default", "name": "no-such"}
        body = {"apiVersion": NETWORKING, "kind": "IPAddress", "metadata": meta(name, {"ip-test": label}), "spec": {"parentRef": parent}}
        resource.create(body)
    first = names[0]
    equal(resource.get(first)["metadata"]["name"], first)
    listed = resource.list(labelSelector=f"ip-test={label}")
    equal(len(listed["items"]), 3)
    watch = resource.watch(labelSelector=f"ip-test={label}", resourceVersion=listed["metadata"]["resourceVersion"])
    equal(resource.patch(first, {"metadata": {"annotations": {"patched": "true"}}})["metadata"]["annotations"]["patched"], "true")
    updated = resource.change(first, lambda body: body["metadata"]["annotations"].update(updated="true"))
    equal(updated["metadata"]["annotations"]["updated"], "true")
    watch.until(lambda event: event["object"]["metadata"]["annotations"].get("updated") == "true")
    resource.delete(first)
    assert not resource.exists(first)
    resource.delete_collection(labelSelector=f"ip-test={label}")
    equal(resource.names(labelSelector=f"ip-test={label}"), [])
    watch.close()


@behaviour("[sig-network] ServiceCIDR and IPAddress API should support ServiceCIDR API operations")
def service_cidrs(world):
    discovered(world, NETWORKING, "servicecidrs", "servicecidrs/status")
    ranges = iter(range(10, 60))
    spec = lambda: {"cidrs": [f"192.168.{next(ranges)}.0/24"]}  # noqa: E731
    body = lambda: {"apiVersion": NETWORKING, "kind": "ServiceCIDR", "metadata": {"name": "e2e"}, "spec": spec()}  # noqa: E731
    lifecycle(world, NETWORKING, "servicecidrs", body)
    own = {**body(), "metadata": {"name": unique("cidr")}}
    moment = "2024-01-01T00:00:00Z"
    condition = {"type": "PatchStatus", "status": "True", "reason": "E2E", "message": "Set", "lastTransitionTime": moment}
    changed = lambda status: "PatchStatus" in [c["type"] for c in status["conditions"]]  # noqa: E731
    status_lifecycle(world, NETWORKING, "servicecidrs", own, {"conditions": [condition]}, changed)
