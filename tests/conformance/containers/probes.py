"""Probes: who is restarted, who is ready and when."""

import time

from client import equal
from pods import Pods, condition
from registry import behaviour

PROBE = "[sig-node] Probing container "


def restarts(pod):
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses") or [])


def liveness(world, command, probe, wanted, seconds=45):
    """Watches the restarts of a pod whose liveness is probed."""
    pods = Pods(world, world.namespace("container-probe"))
    probe = {"initialDelaySeconds": 5, "failureThreshold": 1, "periodSeconds": 5, **probe}
    pods.create("liveness", pods.container(command, livenessProbe=probe))
    pods.phase("liveness", "Running")
    if wanted:
        pods.wait("liveness", "is restarted", lambda pod: restarts(pod) >= wanted, 240)
        return
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        equal(restarts(pods.resource.get("liveness")), 0)
        time.sleep(2)


CAT = {"exec": {"command": ["cat", "/tmp/health"]}}
SERVE = "mkdir -p /www; echo ok > /www/healthz; httpd -p 8080 -h /www; "


@behaviour(PROBE + 'should be restarted with a exec "cat /tmp/health" liveness probe [NodeConformance]')
def exec_fails(world):
    liveness(world, "echo ok >/tmp/health; sleep 10; rm -rf /tmp/health; sleep 600", {**CAT, "initialDelaySeconds": 15}, 1)


@behaviour(PROBE + 'should *not* be restarted with a exec "cat /tmp/health" liveness probe [NodeConformance]')
def exec_holds(world):
    liveness(world, "echo ok >/tmp/health; sleep 600", {**CAT, "initialDelaySeconds": 15}, 0)


@behaviour(PROBE + "should be restarted with a /healthz http liveness probe [NodeConformance]")
def http_fails(world):
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 15}
    liveness(world, SERVE + "sleep 10; rm /www/healthz; sleep 600", probe, 1)


@behaviour(PROBE + "should *not* be restarted with a /healthz http liveness probe [NodeConformance]")
def http_holds(world):
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "timeoutSeconds": 5, "failureThreshold": 5}
    liveness(world, SERVE + "sleep 600", probe, 0)


@behaviour(PROBE + "should *not* be restarted with a tcp:8080 liveness probe [NodeConformance]")
def tcp_holds(world):
    liveness(world, SERVE + "sleep 600", {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 15}, 0)


@behaviour(PROBE + "should have monotonically increasing restart count [NodeConformance]")
def counts(world):
    probe = {"httpGet": {"path": "/healthz", "port": 8080}}
    liveness(world, "exec sleep 600", probe, 3)


@behaviour(PROBE + "with readiness probe should not be ready before initial delay and never restart [NodeConformance]")
def not_before(world):
    pods = Pods(world, world.namespace("container-probe"))
    probe = {"httpGet": {"path": "/", "port": 8080}, "initialDelaySeconds": 20}
    pods.create("test-webserver", pods.container(SERVE + "echo > /www/index.html; sleep 600", readinessProbe=probe))
    pod = pods.ready("test-webserver", 90)

    def at(text):
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))

    ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")["lastTransitionTime"]
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert at(ready) - at(started) >= 20, (ready, started)
    equal(restarts(pod), 0)


@behaviour(PROBE + "with readiness probe that fails should never be ready and never restart [NodeConformance]")
def never(world):
    pods = Pods(world, world.namespace("container-probe"))
    probe = {"exec": {"command": ["/bin/false"]}, "initialDelaySeconds": 5}
    pods.create("never", pods.container(readinessProbe=probe))
    pods.phase("never", "Running")
    end = time.monotonic() + 40
    while time.monotonic() < end:
        pod = pods.resource.get("never")
        equal((condition(pod, "Ready"), restarts(pod)), ("False", 0))
        time.sleep(2)
