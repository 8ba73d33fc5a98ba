"""Admission webhooks, served by a pod behind a service."""

from client import JSON_PATCH, STRATEGIC, equal, eventually, meta, refused
from kinds import ALLOW_ALL, DEFINITIONS, custom_kind, definition, instance, of
from kubectl import kubectl
from registry import behaviour, unique
from webhooks import ADMISSION, Webhooks, denial

WEBHOOK = "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] "
UNWANTED = {"webhook-e2e-test": "webhook-disallow"}
KEY = "the configmap contains unwanted key and value"


@behaviour(WEBHOOK + "should include webhook resources in discovery documents")
def discovered(world):
    groups = world.api.call("GET", "/apis")["groups"]
    group = next(group for group in groups if group["name"] == "admissionregistration.k8s.io")
    assert {"groupVersion": ADMISSION, "version": "v1"} in group["versions"], group
    names = {resource["name"] for resource in world.api.call("GET", f"/apis/{ADMISSION}")["resources"]}
    assert names >= {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}, names


@behaviour(WEBHOOK + "should be able to deny pod and configmap creation")
def denies(world):
    hooks = Webhooks(world)
    skips = {"matchLabels": {hooks.label: "true"}, "matchExpressions": [{"key": "skip-webhook-admission", "operator": "NotIn", "values": ["yes"]}]}
    pods = hooks.hook("deny-unwanted-pod-container-name-and-label", "/pods", ["CREATE"], ["pods"])
    maps = hooks.hook("deny-unwanted-configmap-data", "/configmaps", ["CREATE", "UPDATE", "DELETE"], ["configmaps"], namespaceSelector=skips)
    hooks.register("validating", pods, maps)
    denial(lambda: hooks.create("disallowed-pod", hooks.container(name="webhook-disallow"), labels=UNWANTED), "the pod contains unwanted container name", "the pod contains unwanted label")
    denial(lambda: hooks.create("hanging-pod", hooks.container(name="wait-forever"), labels={"webhook-e2e-test": "wait-forever"}), "webhook", "deadline")
    assert not hooks.resource.exists("hanging-pod")
    denial(lambda: hooks.configmaps.create({"metadata": meta("disallowed-configmap"), "data": UNWANTED}), KEY)
    hooks.configmaps.create({"metadata": meta("allowed-configmap"), "data": {"admit": "this"}})
    denial(lambda: hooks.configmaps.change("allowed-configmap", lambda found: found["data"].update(UNWANTED)), KEY)
    denial(lambda: hooks.configmaps.patch("allowed-configmap", {"data": UNWANTED}, kind=STRATEGIC), KEY)
    skipped = world.namespace("exempted-namespace", {"skip-webhook-admission": "yes", hooks.label: "true"})
    world.resource("v1", "configmaps", skipped).create({"metadata": meta("disallowed-configmap"), "data": UNWANTED})


@behaviour(WEBHOOK + "should be able to deny attaching pod")
def attaching(world):
    hooks = Webhooks(world)
    hooks.register("validating", hooks.hook("deny-attaching-pod", "/pods/attach", ["CONNECT"], ["pods/attach"]))
    hooks.create("to-be-attached-pod", hooks.container(name="container1"))
    hooks.phase("to-be-attached-pod", "Running")
    said = kubectl(world, "attach", f"--namespace={hooks.namespace}", "to-be-attached-pod", "-i", "-c=container1", input="", fails=True)
    assert "attaching to pod 'to-be-attached-pod' is not allowed" in said, said


@behaviour(WEBHOOK + "should be able to deny custom resource creation, update and deletion")
def denies_custom(world):
    hooks, message = Webhooks(world), "the custom resource contains unwanted data"
    crd = hooks.custom_kind()
    spec, resource = crd["spec"], of(world, crd, hooks.namespace)
    hooks.register("validating", hooks.hook("deny-unwanted-custom-resource-data", "/custom-resource", ["CREATE", "UPDATE", "DELETE"], [spec["names"]["plural"]], spec["group"]))
    denial(lambda: resource.create(instance(crd, "cr-instance-1", data=UNWANTED)), message)
    resource.create(instance(crd, "cr-instance-2", data={"webhook-e2e-test": "webhook-nondeletable"}))
    denial(lambda: resource.change("cr-instance-2", lambda found: found.update(data=UNWANTED)), message)
    denial(lambda: resource.delete("cr-instance-2"), "the custom resource cannot be deleted because it contains unwanted key and value")
    resource.change("cr-instance-2", lambda found: found.update(data={"webhook-e2e-test": "webhook-allow"}))
    resource.delete("cr-instance-2")


@behaviour(WEBHOOK + "should unconditionally reject operations on fail closed webhook")
def fail_closed(world):
    hooks = Webhooks(world)
    selector = {"matchLabels": {hooks.label: "true"}, "matchExpressions": [{"key": "fail-closed-webhook", "operator": "In", "values": ["yes"]}]}
    hooks.register("validating", hooks.hook("fail-closed", "/configmaps", ["CREATE"], ["configmaps"], trusted=False, failurePolicy="Fail", namespaceSelector=selector))
    maps = world.resource("v1", "configmaps", world.namespace("fail-closed", {hooks.label: "true"}))
    maps.create({"metadata": meta("before")})
    world.resource("v1", "namespaces").patch(maps.namespace, {"metadata": {"labels": {"fail-closed-webhook": "yes"}}})
    eventually("the label is seen", lambda: denied_now(maps), 30)
    equal(refused(500, lambda: maps.create({"metadata": meta("foo")})).body["reason"], "InternalError")


def denied_now(maps):
    answer = maps.api.raw("POST", maps.path, {"metadata": meta(unique("probe"))})
    return answer.status == 500


@behaviour(WEBHOOK + "should mutate configmap")
def mutates(world):
    hooks = Webhooks(world)
    hooks.register("mutating", *(hooks.hook(f"adding-configmap-data-stage-{stage}", "/mutating-configmaps", ["CREATE"], ["configmaps"]) for stage in (1, 2)))
    made = hooks.configmaps.create({"metadata": meta("to-be-mutated"), "data": {"mutation-start": "yes"}})
    equal(made["data"], {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"})


@behaviour(WEBHOOK + "should mutate pod and apply defaults after mutation")
def mutates_pod(world):
    hooks = Webhooks(world)
    hooks.register("mutating", hooks.hook("adding-init-container", "/mutating-pods", ["CREATE"], ["pods"]))
    made = hooks.create("webhook-to-be-mutated", hooks.container(name="example"))
    added = made["spec"]["initContainers"]
    equal([(one["name"], one["terminationMessagePolicy"], one["imagePullPolicy"]) for one in added], [("webhook-added-init-container", "File", "Always")])


@behaviour(WEBHOOK + "should mutate custom resource", WEBHOOK + "should mutate custom resource with pruning")
def mutates_custom(world):
    hooks = Webhooks(world)
    data = {name: {"type": "string"} for name in ("mutation-start", "mutation-stage-1")}
    pruning = {"type": "object", "properties": {"data": {"type": "object", "properties": data}}}
    for schema in (ALLOW_ALL, pruning):
        crd = hooks.custom_kind(**schema)
        mutating_custom(hooks, crd)
        made = of(world, crd, hooks.namespace).create(instance(crd, "cr-instance-1", data={"mutation-start": "yes"}))
        more = {} if schema is pruning else {"mutation-stage-2": "yes"}
        equal(made["data"], {"mutation-start": "yes", "mutation-stage-1": "yes", **more})


def mutating_custom(hooks, crd):
    spec = crd["spec"]
    versions = [version["name"] for version in spec["versions"]]
    stages = ((1, ["CREATE", "UPDATE"]), (2, ["CREATE"]))
    hooks.register("mutating", *(hooks.hook(f"mutate-custom-resource-data-stage-{stage}", "/mutating-custom-resource", verbs, [spec["names"]["plural"]], spec["group"], versions) for stage, verbs in stages))


@behaviour(WEBHOOK + "should mutate custom resource with different stored version")
def stored_otherwise(world):
    hooks = Webhooks(world)
    crd = custom_kind(world, versions={"v1": ALLOW_ALL, "v2": ALLOW_ALL})
    mutating_custom(hooks, crd)
    of(world, crd, hooks.namespace).create(instance(crd, "cr-instance-1", data={"mutation-start": "yes"}))
    versions = [{"name": name, "storage": name == "v2", "served": True, "schema": {"openAPIV3Schema": ALLOW_ALL}} for name in ("v1", "v2")]
    world.resource(DEFINITIONS, "customresourcedefinitions").patch(crd["metadata"]["name"], {"spec": {"versions": versions}}, kind=STRATEGIC)
    patch = [{"op": "add", "path": "/dummy", "value": "test"}]
    patched = of(world, crd, hooks.namespace, "v2").patch("cr-instance-1", patch, kind=JSON_PATCH)
    equal(patched["data"], {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"})
    equal(patched["dummy"], "test")


@behaviour(WEBHOOK + "should deny crd creation")
def denies_definitions(world):
    hooks = Webhooks(world)
    selectors = {"objectSelector": {"matchLabels": {hooks.label: "true"}}, "namespaceSelector": None}
    hooks.register("validating", hooks.hook("deny-crd-with-unwanted-label", "/crd", ["CREATE"], ["customresourcedefinitions"], "apiextensions.k8s.io", ["*"], **selectors))
    body = definition({"v1": ALLOW_ALL}, labels={hooks.label: "true", **UNWANTED}, kind="E2e-test-webhook-deny-crd")
    denial(lambda: world.resource(DEFINITIONS, "customresourcedefinitions").create(body), "the crd contains unwanted label")


@behaviour(WEBHOOK + "should honor timeout")
def timeout(world):
    hooks = Webhooks(world)
    configurations = hooks.configurations("validating")
    for seconds, policy in ((1, "Fail"), (1, "Ignore"), (10, "Fail"), (None, "Fail")):
        more = {"failurePolicy": policy, **({"timeoutSeconds": seconds} if seconds else {})}
        slow = hooks.hook("allow-configmap-with-delay-webhook", "/always-allow-delay-5s", ["CREATE"], ["configmaps"], **more)
        name = hooks.register("validating", slow)["metadata"]["name"]
        body = {"metadata": meta("e2e-test-slow-webhook-configmap")}
        if (seconds, policy) == (1, "Fail"):
            refusal = denial(lambda body=body: hooks.configmaps.create(body), "/always-allow-delay-5s?timeout=1s")
            assert "context deadline exceeded" in refusal.message or "timeout" in refusal.message.replace("?timeout=", ""), refusal
        else:
            hooks.configmaps.create(body)
            hooks.configmaps.delete(body["metadata"]["name"])
        configurations.delete(name)
