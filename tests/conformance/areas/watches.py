"""Watches of ConfigMaps: order, resuming, selectors."""

import concurrent.futures
import threading

from client import equal, meta
from registry import behaviour

TITLE = "[sig-api-machinery] Watchers should "


def config_map(name, label=None, data=None):
    labels = {"watch-this-configmap": label} if label else None
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name, labels), "data": data or {}}


def maps(world):
    return world.resource("v1", "configmaps", world.namespace("watch"))


def versions(watch, *kinds):
    events = [watch.next() for _ in kinds]
    equal([event["type"] for event in events], list(kinds))
    return [event["object"]["metadata"]["resourceVersion"] for event in events]


@behaviour(TITLE + "observe add, update, and delete watch notifications on configmaps")
def all_notifications(world):
    resource = maps(world)
    a, b = (resource.watch(labelSelector=f"watch-this-configmap={label}") for label in ("multiple-watchers-A", "multiple-watchers-B"))
    both = resource.watch(labelSelector="watch-this-configmap in (multiple-watchers-A,multiple-watchers-B)")
    resource.create(config_map("a", "multiple-watchers-A"))
    for number in "12":
        resource.change("a", lambda body: body.update(data={"mutation": number}))
    resource.delete("a")
    seen = versions(a, "ADDED", "MODIFIED", "MODIFIED", "DELETED")
    equal(versions(both, "ADDED", "MODIFIED", "MODIFIED", "DELETED"), seen)
    resource.create(config_map("b", "multiple-watchers-B"))
    resource.delete("b")
    equal(versions(b, "ADDED", "DELETED"), versions(both, "ADDED", "DELETED"))
    a.quiet(0.5)
    for watch in (a, b, both):
        watch.close()


@behaviour(TITLE + "be able to start watching from a specific resource version")
def from_a_version(world):
    resource = maps(world)
    resource.create(config_map("c", "from-resource-version"))
    first = resource.change("c", lambda body: body.update(data={"mutation": "1"}))
    resource.change("c", lambda body: body.update(data={"mutation": "2"}))
    resource.delete("c")
    watch = resource.watch(labelSelector="watch-this-configmap=from-resource-version", resourceVersion=first["metadata"]["resourceVersion"])
    modified, deleted = watch.next(), watch.next()
    equal((modified["type"], modified["object"]["data"]), ("MODIFIED", {"mutation": "2"}))
    equal(deleted["type"], "DELETED")
    watch.close()


@behaviour(TITLE + "be able to restart watching from the last resource version observed by the previous watch")
def resumed(world):
    resource, selector = maps(world), {"labelSelector": "watch-this-configmap=watch-closed-and-restarted"}
    watch = resource.watch(**selector)
    resource.create(config_map("c", "watch-closed-and-restarted"))
    resource.change("c", lambda body: body.update(data={"mutation": "1"}))
    last = versions(watch, "ADDED", "MODIFIED")[-1]
    watch.close()
    resource.change("c", lambda body: body.update(data={"mutation": "2"}))
    again = resource.watch(resourceVersion=last, **selector)
    resource.delete("c")
    versions(again, "MODIFIED", "DELETED")
    again.close()


@behaviour(TITLE + "observe an object deletion if it stops meeting the requirements of the selector")
def leaves_the_selector(world):
    resource, label = maps(world), "label-changed-and-restored"
    watch = resource.watch(labelSelector=f"watch-this-configmap={label}")
    relabel = lambda to: resource.patch("c", {"metadata": {"labels": {"watch-this-configmap": to}}})  # noqa: E731
    resource.create(config_map("c", label))
    resource.change("c", lambda body: body.update(data={"mutation": "1"}))
    relabel("wrong-value")
    versions(watch, "ADDED", "MODIFIED", "DELETED")
    resource.change("c", lambda body: body.update(data={"mutation": "2"}))
    watch.quiet()
    relabel(label)
    resource.change("c", lambda body: body.update(data={"mutation": "3"}))
    resource.delete("c")
    versions(watch, "ADDED", "MODIFIED", "DELETED")
    watch.close()


@behaviour(TITLE + "receive events on concurrent watches in same order")
def same_order(world):
    resource, done, events = maps(world), threading.Event(), 100
    start = resource.list()["metadata"]["resourceVersion"]

    def write():
        number = 0
        while not done.is_set():
            name = f"cm-{number % 10}"
            if resource.exists(name):
                resource.patch(name, {"data": {"n": str(number)}}) if number % 3 else resource.delete(name)
            else:
                resource.create(config_map(name))
            number += 1

    def follow(version):
        watch = resource.watch(resourceVersion=version)
        seen = [watch.next()["object"]["metadata"]["resourceVersion"] for _ in range(events)]
        watch.close()
        return seen

    writer = threading.Thread(target=write)
    writer.start()
    try:
        first = follow(start)
        with concurrent.futures.ThreadPoolExecutor(10) as watchers:
            for position, seen in enumerate(watchers.map(follow, first[:10])):
                kept = first[position + 1 :]
                equal(seen[: len(kept)], kept)
    finally:
        done.set()
        writer.join()
