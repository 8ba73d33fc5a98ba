"""Configurations of admission webhooks: changed, listed, matched by conditions, and beyond the reach of webhooks."""

import json

from client import JSON_PATCH, equal, eventually, meta, refused
from registry import behaviour, unique
from webhooks import ADMISSION, Webhooks, denial

WEBHOOK = "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] "
UNWANTED = {"webhook-e2e-test": "webhook-disallow"}
MUTATED = {"mutation-start": "yes", "mutation-stage-1": "yes"}


def hook_of(hooks, kind, **more):
    path, name = ("/configmaps", "deny-unwanted-configmap-data") if kind == "validating" else ("/mutating-configmaps", "adding-configmap-data-stage-1")
    return hooks.hook(name, path, ["CREATE"], ["configmaps"], **more)


def takes_effect(hooks, kind):
    """The webhook denies or mutates a new object."""
    name = unique("probe")
    body = {"metadata": meta(name), "data": dict(UNWANTED) if kind == "validating" else {"mutation-start": "yes"}}
    answer = hooks.world.api.raw("POST", hooks.configmaps.path, body)
    if answer.status < 300:
        hooks.configmaps.delete(name)
        data = json.loads(answer.data)["data"]
        equal(data if kind == "validating" else data["mutation-start"], UNWANTED if kind == "validating" else "yes")
        return kind == "mutating" and data.get("mutation-stage-1") == "yes"
    assert kind == "validating" and b"denied" in answer.data, answer.data
    return True


def changing(kind):
    @behaviour(WEBHOOK + f"patching/updating a {kind} webhook should work")
    def changed(world):
        hooks = Webhooks(world)
        name = hooks.register(kind, hook_of(hooks, kind))["metadata"]["name"]
        assert takes_effect(hooks, kind)
        configurations = hooks.configurations(kind)
        configurations.change(name, lambda found: found["webhooks"][0]["rules"][0].update(operations=["UPDATE"]))
        eventually("it is called no more", lambda: not takes_effect(hooks, kind), 30)
        patch = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
        configurations.patch(name, patch, kind=JSON_PATCH)
        eventually("it is called again", lambda: takes_effect(hooks, kind), 30)


def listing(kind):
    @behaviour(WEBHOOK + f"listing {kind} webhooks should work")
    def listed(world):
        hooks, label = Webhooks(world), {"e2e-list-test-uuid": unique("list")}
        selector = f"e2e-list-test-uuid={label['e2e-list-test-uuid']}"
        world.after(lambda: hooks.configurations(kind).delete_collection(labelSelector=selector))
        for _ in range(10):
            hooks.configurations(kind).create({"metadata": meta(unique("e2e-hooks"), label), "webhooks": [hook_of(hooks, kind), hooks.marker(kind)]})
        hooks.in_force()
        equal(len(hooks.configurations(kind).names(labelSelector=selector)), 10)
        eventually("they are in force", lambda: takes_effect(hooks, kind), 30)
        hooks.configurations(kind).delete_collection(labelSelector=selector)
        equal(hooks.configurations(kind).names(labelSelector=selector), [])
        eventually("they are in force no more", lambda: not takes_effect(hooks, kind), 30)


def conditions(kind):
    @behaviour(WEBHOOK + f"should be able to create and update {kind} webhook configurations with match conditions")
    def kept(world):
        hooks = Webhooks(world)
        first, second = ([{"name": f"expression-{number}", "expression": text}] for number, text in ((1, "object.metadata.name != 'skip-me'"), (2, "true")))
        name = hooks.register(kind, hook_of(hooks, kind, matchConditions=first))["metadata"]["name"]
        equal(hooks.configurations(kind).get(name)["webhooks"][0]["matchConditions"], first)
        hooks.configurations(kind).change(name, lambda found: found["webhooks"][0].update(matchConditions=second))
        equal(hooks.configurations(kind).get(name)["webhooks"][0]["matchConditions"], second)

    @behaviour(WEBHOOK + f"should reject {kind} webhook configurations with invalid match conditions")
    def invalid(world):
        hooks = Webhooks(world)
        wrong = [{"name": "invalid-expression-1", "expression": "... [] bad expression"}]
        body = {"metadata": meta(unique("invalid")), "webhooks": [hook_of(hooks, kind, matchConditions=wrong)]}
        refused(422, lambda: hooks.configurations(kind).create(body), "compilation failed")


for given_kind in ("mutating", "validating"):
    changing(given_kind)
    listing(given_kind)
    conditions(given_kind)


@behaviour(WEBHOOK + "should mutate everything except 'skip-me' configmaps")
def skips(world):
    hooks = Webhooks(world)
    only = [{"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}]
    hooks.register("mutating", hook_of(hooks, "mutating", matchConditions=only))
    for name, data in (("skip-me", {"mutation-start": "yes"}), ("to-be-mutated", MUTATED)):
        equal(hooks.configmaps.create({"metadata": meta(name), "data": {"mutation-start": "yes"}})["data"], data)


@behaviour(WEBHOOK + "should not be able to mutate or prevent deletion of webhook configuration objects")
def exempt(world):
    hooks, plurals = Webhooks(world), ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]
    group = ADMISSION.partition("/")[0]
    for kind, path, verb in (("validating", "/always-deny", "DELETE"), ("mutating", "/add-label", "CREATE")):
        # Configurations belong to no namespace, so that the selector never holds them back.
        hooks.register(kind, hooks.hook(f"{kind}-of-configurations", path, [verb], plurals, group, ["*"], failurePolicy="Fail"))
    for kind in ("validating", "mutating"):
        dummy = hooks.hook(f"dummy-{kind}-webhook", "", ["CREATE"], ["invalid"], trusted=False, failurePolicy="Ignore")
        made = hooks.register(kind, dummy)
        assert "added-label" not in made["metadata"].get("labels", {}), made
        hooks.configurations(kind).delete(made["metadata"]["name"])
    # A namespace's object of another kind is within their reach: the webhooks do work.
    hooks.register("mutating", hooks.hook("adds-labels", "/add-label", ["CREATE"], ["configmaps"]))
    equal(hooks.configmaps.create({"metadata": meta("labelled")})["metadata"]["labels"], {"added-label": "yes"})
    denial(lambda: world.resource("v1", "configmaps", hooks.markers).create({"metadata": meta("marker", {hooks.label: "true"})}), "denied")
