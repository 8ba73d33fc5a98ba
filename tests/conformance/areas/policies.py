"""Admission by CEL policies, and the flow control objects."""

from client import Refused, equal, eventually, meta, refused
from lifecycle import discovered, lifecycle, status_lifecycle
from registry import behaviour, unique

ADMISSION, FLOW = "admissionregistration.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1"
VALIDATING = "[sig-api-machinery] ValidatingAdmissionPolicy [Privileged:ClusterAdmin] should "
MUTATING = "[sig-api-machinery] MutatingAdmissionPolicy [Privileged:ClusterAdmin] should "
FAIRNESS = "[sig-api-machinery] API priority and fairness should "
DEPLOYMENTS = {
    "resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]
}
ANNOTATE = 'Object{metadata: Object.metadata{annotations: {"my-foo-annotation": "myAnnotationValue"}}}'


def validating(match=DEPLOYMENTS, **spec):
    body = {"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": unique("policy")}}
    return {**body, "spec": {"matchConstraints": match, "failurePolicy": "Fail", **spec}}


def mutating(expression, match=DEPLOYMENTS):
    body = {"apiVersion": ADMISSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": unique("policy")}}
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    return {**body, "spec": {"matchConstraints": match, "reinvocationPolicy": "Never", "mutations": [mutation]}}


def binding(kind, policy, label=None, **spec):
    body = {"apiVersion": ADMISSION, "kind": f"{kind}Binding", "metadata": {"name": unique("binding")}}
    if label:
        spec["matchResources"] = {"namespaceSelector": {"matchLabels": {label: "true"}}}
    return {**body, "spec": {"policyName": policy, **spec}}


def bind(world, policy, plural, label, **spec):
    """The policy in force in namespaces with the label."""
    policies, bindings = world.resource(ADMISSION, plural), world.resource(ADMISSION, plural.replace("policies", "policybindings"))
    made = policies.create(policy)["metadata"]["name"]
    world.after(lambda: policies.delete(made))
    bound = bindings.create(binding(policy["kind"], made, label, **spec))["metadata"]["name"]
    world.after(lambda: bindings.delete(bound))


def deployment(name, replicas, labels=None):
    labels = labels or {"app": "test"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": "nginx:latest"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name), "spec": spec}


def denied(world, deployments, body, *said):
    """The policy denies as soon as it is in force."""

    def tried():
        try:
            deployments.create(body, dryRun="All")
        except Refused as refusal:
            return refusal
        return None

    refusal = eventually("the policy denies", tried)
    equal(refusal.status, 422)
    for part in said:
        assert part in refusal.message, refusal.message


def validates(world, label, **spec):
    namespace = world.namespace("policy", {label: "true"})
    bind(world, validating(**spec), "validatingadmissionpolicies", label, validationActions=["Deny"])
    return world.resource("apps/v1", "deployments", namespace)


@behaviour(VALIDATING + "validate against a Deployment")
def against_deployment(world):
    rules = [
        {"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
        {"expression": "namespaceObject.metadata.name == object.metadata.namespace"},
    ]
    # The types of that message do not fit, as in Kubernetes' own test: the expression is told instead.
    deployments = validates(world, unique("validating"), validations=rules)
    denied(world, deployments, deployment("replicated", 1), "failed expression: object.spec.replicas > 1")
    rules[0]["messageExpression"] = "'wants replicas > 1, got ' + string(object.spec.replicas)"
    told = validates(world, unique("validating"), validations=rules)
    denied(world, told, deployment("replicated", 1), "wants replicas > 1, got 1")
    deployments.create(deployment("replicated", 2))


@behaviour(VALIDATING + "allow expressions to refer variables.")
def variables(world):
    names = [{"name": "replicas", "expression": "object.spec.replicas"}, {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}]
    rules = [
        {"expression": "variables.replicas > 1"},
        {"expression": "variables.oddReplicas"},
    ]
    deployments = validates(world, unique("variables"), variables=names, validations=rules)
    denied(world, deployments, deployment("replicated", 1), "variables.replicas > 1")
    refused(422, lambda: deployments.create(deployment("replicated", 4)), "variables.oddReplicas")
    deployments.create(deployment("replicated", 3))


@behaviour(VALIDATING + "support ValidatingAdmissionPolicy API operations")
def validating_operations(world):
    body = validating(validations=[{"expression": "object.spec.replicas <= 100"}])
    body["spec"]["matchConstraints"] = {**DEPLOYMENTS, "namespaceSelector": {"matchLabels": {"never": "matches"}}}
    lifecycle(world, ADMISSION, "validatingadmissionpolicies", body, patch={"spec": {"failurePolicy": "Ignore"}})
    condition = {"type": "Patched", "status": "True", "reason": "Patched", "message": "patched", "lastTransitionTime": "2024-01-01T00:00:00Z"}
    changed = lambda status: "Patched" in [c["type"] for c in status["conditions"]]  # noqa: E731
    body["metadata"] = {"name": unique("policy")}
    status_lifecycle(world, ADMISSION, "validatingadmissionpolicies", body, {"conditions": [condition]}, changed, annotated=False)


@behaviour(VALIDATING + "support ValidatingAdmissionPolicyBinding API operations")
def validating_binding_operations(world):
    body = binding("ValidatingAdmissionPolicy", "replicalimit-policy.example.com", validationActions=["Deny"])
    lifecycle(world, ADMISSION, "validatingadmissionpolicybindings", body)


def mutates(world, expression):
    label = unique("mutating")
    namespace = world.namespace("policy", {label: "true"})
    match = {**DEPLOYMENTS, "namespaceSelector": {"matchLabels": {label: "true"}}}
    bind(world, mutating(expression, match), "mutatingadmissionpolicies", label)
    return world.resource("apps/v1", "deployments", namespace)


@behaviour(MUTATING + "mutate a Deployment with annotations")
def annotates(world):
    deployments = mutates(world, ANNOTATE)
    tried = lambda: deployments.create(deployment("test", 2), dryRun="All")["metadata"].get("annotations")  # noqa: E731
    equal(eventually("the policy mutates", tried), {"my-foo-annotation": "myAnnotationValue"})


@behaviour(MUTATING + "mutate a Deployment")
def sets_replicas(world):
    deployments = mutates(world, "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}")
    eventually("the policy mutates", lambda: deployments.create(deployment("test", 2), dryRun="All")["spec"]["replicas"] == 3)


@behaviour(MUTATING + "support MutatingAdmissionPolicy API operations")
def mutating_operations(world):
    match = {**DEPLOYMENTS, "namespaceSelector": {"matchLabels": {"never": "matches"}}}
    lifecycle(world, ADMISSION, "mutatingadmissionpolicies", mutating(ANNOTATE, match), patch={"spec": {"failurePolicy": "Ignore"}})


@behaviour(MUTATING + "support MutatingAdmissionPolicyBinding API operations")
def mutating_binding_operations(world):
    lifecycle(world, ADMISSION, "mutatingadmissionpolicybindings", binding("MutatingAdmissionPolicy", "no-such.example.com"))


@behaviour(FAIRNESS + "support FlowSchema API operations")
def flow_schemas(world):
    subject = {"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}
    rule = {"subjects": [subject], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}
    spec = {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"}}
    spec.update(distinguisherMethod={"type": "ByUser"}, rules=[rule])
    body = {"apiVersion": FLOW, "kind": "FlowSchema", "metadata": {"name": "e2e-example-fs"}, "spec": spec}
    discovered(world, FLOW, "flowschemas", "flowschemas/status")
    lifecycle(world, FLOW, "flowschemas", body, patch={"spec": {"matchingPrecedence": 9999}})
    body["metadata"] = {"name": unique("fs")}
    condition = {"type": "PatchStatusFailed", "status": "False", "reason": "Rejected", "message": "hello"}
    changed = lambda status: "PatchStatusFailed" in [c["type"] for c in status["conditions"]]  # noqa: E731
    status_lifecycle(world, FLOW, "flowschemas", body, {"conditions": [condition]}, changed, annotated=False)


@behaviour(FAIRNESS + "support PriorityLevelConfiguration API operations")
def priority_levels(world):
    limited = {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}
    body = {"apiVersion": FLOW, "kind": "PriorityLevelConfiguration", "metadata": {"name": "e2e-example-pl"}}
    body["spec"] = {"type": "Limited", "limited": limited}
    discovered(world, FLOW, "prioritylevelconfigurations", "prioritylevelconfigurations/status")
    lifecycle(world, FLOW, "prioritylevelconfigurations", body, patch={"spec": {"limited": {"nominalConcurrencyShares": 4}}})
    body["metadata"] = {"name": unique("pl")}
    condition = {"type": "PatchStatusFailed", "status": "False", "reason": "Rejected", "message": "hello"}
    changed = lambda status: "PatchStatusFailed" in [c["type"] for c in status["conditions"]]  # noqa: E731
    status_lifecycle(world, FLOW, "prioritylevelconfigurations", body, {"conditions": [condition]}, changed, annotated=False)
