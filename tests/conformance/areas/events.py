"""Events of both groups."""

from client import JSON_PATCH, STRATEGIC, equal, meta
from registry import behaviour, unique

OLD, NEW = "[sig-instrumentation] Events should ", "[sig-instrumentation] Events API should "
MOMENT = "2024-01-01T00:00:00.123456Z"


def core_event(namespace, name, labels):
    involved = {"namespace": namespace}
    body = {"apiVersion": "v1", "kind": "Event", "metadata": meta(name, labels), "involvedObject": involved}
    return {**body, "message": f"This is {name}", "reason": "Test", "type": "Normal", "count": 1}


@behaviour(OLD + "manage the lifecycle of an event")
def core_lifecycle(world):
    namespace, label = world.namespace("events"), unique("event")
    events, everywhere = world.resource("v1", "events", namespace), world.resource("v1", "events")
    selector = {"labelSelector": f"testevent-constant={label}"}
    events.create(core_event(namespace, "event-test", {"testevent-constant": label}))
    equal(everywhere.names(**selector), ["event-test"])
    patched = events.patch("event-test", {"message": "patched"}, kind=STRATEGIC)
    equal(patched["message"], "patched")
    equal(events.get("event-test")["message"], "patched")
    series = {"count": 100, "lastObservedTime": MOMENT}
    updated = events.change("event-test", lambda body: body.update(series=series))
    equal(updated["series"], series)
    equal(events.get("event-test")["series"], series)
    events.delete("event-test")
    equal(everywhere.names(**selector), [])


@behaviour(OLD + "delete a collection of events")
def core_collection(world):
    namespace, names = world.namespace("events"), ["test-event-1", "test-event-2", "test-event-3"]
    events = world.resource("v1", "events", namespace)
    for name in names:
        events.create(core_event(namespace, name, {"testevent-set": "true"}))
    equal(events.names(labelSelector="testevent-set=true"), names)
    events.delete_collection(labelSelector="testevent-set=true")
    equal(events.names(labelSelector="testevent-set=true"), [])


def new_event(namespace, name, labels):
    body = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": meta(name, labels), "regarding": {"namespace": namespace}}
    body.update(eventTime=MOMENT, note=f"This is {name}", action="Do", reason="Test", type="Normal")
    return {**body, "reportingController": "test-controller", "reportingInstance": "test-node"}


@behaviour(NEW + "ensure that an event can be fetched, patched, deleted, and listed")
def new_lifecycle(world):
    namespace, label = world.namespace("events"), unique("event")
    events, everywhere = world.resource("events.k8s.io/v1", "events", namespace), world.resource("events.k8s.io/v1", "events")
    selector = {"labelSelector": f"testevent-constant={label}"}
    made = events.create(new_event(namespace, "event-test", {"testevent-constant": label}))
    equal(made["eventTime"], MOMENT)
    equal((events.names(**selector), everywhere.names(**selector)), (["event-test"], ["event-test"]))
    equal(events.names(fieldSelector="reportingController=test-controller"), ["event-test"])
    equal(world.resource("v1", "events", namespace).names(fieldSelector="source=test-controller"), ["event-test"])
    series = {"count": 2, "lastObservedTime": MOMENT}
    patched = events.patch("event-test", {"series": series}, kind=STRATEGIC)
    equal(patched["series"], series)
    again = events.patch("event-test", [{"op": "replace", "path": "/series/count", "value": 3}], kind=JSON_PATCH)
    equal(again["series"]["count"], 3)
    # Of no version, so over whatever is there; then it is what was sent.
    sent = {**events.get("event-test"), "series": {"count": 100, "lastObservedTime": MOMENT}}
    own = {field: sent["metadata"].pop(field) for field in ("resourceVersion", "managedFields")}
    events.update(sent)
    found = events.get("event-test")
    assert found["metadata"].pop("resourceVersion") != own["resourceVersion"]
    found["metadata"].pop("managedFields")
    equal(found, sent)
    core = world.resource("v1", "events", namespace).get("event-test")
    equal((core["message"], core["series"]["count"]), ("This is event-test", 100))
    events.delete("event-test")
    equal((events.names(**selector), everywhere.names(**selector)), ([], []))


@behaviour(NEW + "delete a collection of events")
def new_collection(world):
    namespace, names = world.namespace("events"), ["test-event-1", "test-event-2", "test-event-3"]
    events = world.resource("events.k8s.io/v1", "events", namespace)
    for name in names:
        events.create(new_event(namespace, name, {"testevent-set": "true"}))
    equal(events.names(labelSelector="testevent-set=true"), names)
    events.delete_collection(labelSelector="testevent-set=true")
    equal(events.names(labelSelector="testevent-set=true"), [])
