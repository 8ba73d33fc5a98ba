"""Documents of workloads whose pods run the world's image, and what their controllers say of them."""

import json

from client import eventually, meta

# A server of HTTP on port 80 whose readiness is that it serves /index.html: `UNREADY` in it breaks that, `READY` mends it.
SERVE = "mkdir -p /www && echo $HOSTNAME > /www/index.html && exec httpd -f -p 80 -h /www"
UNREADY, READY = "mv /www/index.html /tmp/", "mv /tmp/index.html /www/"
PROBE = {"httpGet": {"path": "/index.html", "port": 80}, "periodSeconds": 1, "successThreshold": 1, "failureThreshold": 1}


def template(world, labels, command=None, container=None, annotations=None, **spec):
    arguments = {"command": ["/bin/sh", "-c", command]} if command else {}
    main = {"name": "c", "image": world.image, **arguments, **(container or {})}
    return {"metadata": meta(None, labels, **({"annotations": annotations} if annotations else {})), "spec": {"containers": [main], "terminationGracePeriodSeconds": 1, **spec}}


def workload(kind, name, labels, pod, **spec):
    version = "v1" if kind == "ReplicationController" else "apps/v1"
    selector = labels if version == "v1" else {"matchLabels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": meta(name, labels), "spec": {"selector": selector, "template": pod, **spec}}


def condition_of(found, kind):
    return next((c for c in found.get("status", {}).get("conditions") or [] if c["type"] == kind), None)


def until(resource, name, what, holds, seconds=120):
    """The object, once it is so; otherwise its status is told."""
    last = {}

    def look():
        last["found"] = resource.get(name)
        return holds(last["found"])

    try:
        eventually(f"{resource.plural} {name}: {what}", look, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {json.dumps(last.get('found', {}).get('status'))}") from error
    return last["found"]


def ready_pods(resource, count, selector=None, seconds=120):
    """The pods of a selector, once so many there are and all of them run and are ready."""

    def look():
        found = resource.list(labelSelector=selector)["items"]
        ready = [p for p in found if p["status"].get("phase") == "Running" and (condition_of(p, "Ready") or {}).get("status") == "True"]
        return len(found) == count == len(ready) and found or ([] if count else not found)

    return eventually(f"{count} pods of {selector} are ready", look, seconds)


def controller_of(found):
    return next((o for o in found["metadata"].get("ownerReferences", []) if o.get("controller")), None)
