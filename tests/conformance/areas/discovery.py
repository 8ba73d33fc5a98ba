"""Discovery, plain and aggregated, versions, and what has no Table."""

import json

from client import equal, eventually, meta, refused
from kinds import ALLOW_ALL, custom_kind
from lifecycle import discovered
from registry import behaviour

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
EXPECTED = {
    "admissionregistration.k8s.io/v1": "validatingwebhookconfigurations",
    "apiextensions.k8s.io/v1": "customresourcedefinitions",
    "apiregistration.k8s.io/v1": "apiservices",
    "apps/v1": "deployments",
    "authentication.k8s.io/v1": "tokenreviews",
    "authorization.k8s.io/v1": "selfsubjectaccessreviews",
    "autoscaling/v1": "horizontalpodautoscalers",
    "autoscaling/v2": "horizontalpodautoscalers",
    "batch/v1": "jobs",
    "certificates.k8s.io/v1": "certificatesigningrequests",
    "coordination.k8s.io/v1": "leases",
    "discovery.k8s.io/v1": "endpointslices",
    "events.k8s.io/v1": "events",
    "networking.k8s.io/v1": "ingresses",
    "node.k8s.io/v1": "runtimeclasses",
    "policy/v1": "poddisruptionbudgets",
    "scheduling.k8s.io/v1": "priorityclasses",
    "storage.k8s.io/v1": "csinodes",
}


def aggregated(world, root="/apis", accept=AGGREGATED):
    document = world.api.call("GET", root, accept=accept)
    equal(document["kind"], "APIGroupDiscoveryList")
    found = {}
    for group in document["items"]:
        name = group["metadata"].get("name")
        for version in group["versions"]:
            key = f"{name}/{version['version']}" if name else version["version"]
            found[key] = [resource["resource"] for resource in version["resources"]]
    return found


def has_all_builtin(world, accept):
    found = aggregated(world, accept=accept)
    for group_version, resource in EXPECTED.items():
        assert resource in found.get(group_version, []), f"{resource} of {group_version}"
    assert "namespaces" in aggregated(world, "/api", accept)["v1"]


@behaviour("[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers")
def accept_header(world):
    has_all_builtin(world, AGGREGATED)


@behaviour("[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface")
def interface(world):
    """client-go asks for both aggregated versions and the plain one, in order of preference."""
    beta = AGGREGATED.replace("v=v2", "v=v2beta1")
    has_all_builtin(world, f"{AGGREGATED},{beta},application/json")


@behaviour(
    "[sig-api-machinery] AggregatedDiscovery should support raw aggregated discovery request for CRDs",
    "[sig-api-machinery] AggregatedDiscovery should support aggregated discovery interface for CRDs",
)
def custom_kinds_are_discovered(world):
    crd = custom_kind(world, versions={"v1": ALLOW_ALL})
    key = f"{crd['spec']['group']}/v1"
    eventually("the custom kind is discovered", lambda: crd["spec"]["names"]["plural"] in aggregated(world).get(key, []))


@behaviour("[sig-api-machinery] Discovery should locate the groupVersion and a resource within each APIGroup")
def every_version_has_resources(world):
    groups = world.api.call("GET", "/apis")["groups"]
    for group in groups:
        if group["name"].endswith(".example.com"):
            continue  # another behaviour's, which comes and goes
        for version in group["versions"]:
            listed = world.api.call("GET", f"/apis/{version['groupVersion']}")
            equal(listed["groupVersion"], version["groupVersion"])
            assert listed["resources"], version


@behaviour("[sig-api-machinery] Discovery should validate PreferredVersion for each APIGroup")
def preferred_version(world):
    for group in world.api.call("GET", "/apis")["groups"]:
        if not group["name"].endswith(".example.com"):
            own = world.api.call("GET", f"/apis/{group['name']}")
            assert own["preferredVersion"]["groupVersion"] in [version["groupVersion"] for version in own["versions"]], own


@behaviour(
    "[sig-api-machinery] CustomResourceDefinition resources [Privileged:ClusterAdmin] "
    "should include custom resource definition resources in discovery documents"
)
def definitions_are_discovered(world):
    discovered(world, "apiextensions.k8s.io/v1", "customresourcedefinitions")


@behaviour("[sig-api-machinery] server version should find the server version")
def server_version(world):
    version = world.api.call("GET", "/version")
    assert version["major"].isdigit() and version["minor"].isdigit(), version


@behaviour(
    "[sig-api-machinery] Servers with support for Table transformation "
    "should return a 406 for a backend which does not implement metadata"
)
def reviews_have_no_table(world):
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": meta()}
    review["spec"] = {"nonResourceAttributes": {"path": "/", "verb": "get"}}
    reviews = world.resource("authorization.k8s.io/v1", "selfsubjectaccessreviews")
    refused(406, lambda: reviews.create(review, accept="application/json;as=Table;v=v1;g=meta.k8s.io"))
    answer = world.api.raw("POST", reviews.path, json.dumps(review), accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    equal(json.loads(answer.data)["code"], 406)
