"""Containers that are restarted, or held unready, by what their probes say."""

import datetime
import time

from client import equal
from pods import Pods
from registry import behaviour

PROBING = "[sig-node] Probing container "
RESTARTED, KEPT = PROBING + "should be restarted with a ", PROBING + "should *not* be restarted with a "


def status(pod):
    return (pod["status"].get("containerStatuses") or [{"restartCount": 0}])[0]


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def restarts(pods, name, wanted, seconds):
    """The count of restarts rises one by one to the wanted."""
    counts = [0]

    def holds(pod):
        count = status(pod)["restartCount"]
        if count != counts[-1]:
            counts.append(count)
        return count >= wanted

    pod = pods.wait(name, f"{wanted} restarts", holds, seconds)
    equal(counts, sorted(counts))
    ended = status(pod)["lastState"]["terminated"]
    delay = pod["spec"]["containers"][0]["livenessProbe"]["initialDelaySeconds"]
    lived = moment(ended["finishedAt"]) - moment(ended["startedAt"])
    assert lived.total_seconds() >= delay, f"it ended by itself: {ended}"


def never(pods, name, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        equal(status(pods.resource.get(name))["restartCount"], 0)
        time.sleep(1)


def probed(title, restarted, command, probe, count=1):
    @behaviour(title)
    def lives(world):
        pods = Pods(world, world.namespace("container-probe"))
        pods.create("probed", pods.container(command, livenessProbe={"failureThreshold": 1, **probe}))
        pods.phase("probed", "Running")
        if restarted:
            restarts(pods, "probed", count, 300)
        else:
            never(pods, "probed", 40)


HEALTH = {"exec": {"command": ["cat", "/tmp/health"]}, "initialDelaySeconds": 15, "timeoutSeconds": 5}
probed(RESTARTED + 'exec "cat /tmp/health" liveness probe [NodeConformance]', True, "echo ok > /tmp/health; sleep 10; rm /tmp/health; sleep 600", HEALTH)
probed(KEPT + 'exec "cat /tmp/health" liveness probe [NodeConformance]', False, "echo ok > /tmp/health; sleep 600", HEALTH)

SERVES = "mkdir -p /www; echo ok > /www/healthz; httpd -f -p 8080 -h /www & "
HTTP = {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 15}
FAILS = SERVES + "sleep 10; rm /www/healthz; wait"
probed(RESTARTED + "/healthz http liveness probe [NodeConformance]", True, FAILS, HTTP)
probed(KEPT + "/healthz http liveness probe [NodeConformance]", False, SERVES + "wait", {**HTTP, "failureThreshold": 5, "timeoutSeconds": 5})
TCP = {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 15}
probed(KEPT + "tcp:8080 liveness probe [NodeConformance]", False, SERVES + "wait", TCP)
probed(PROBING + "should have monotonically increasing restart count [NodeConformance]", True, FAILS, {**HTTP, "initialDelaySeconds": 5}, 5)

# An answer as its frames of HTTP/2: settings and their acknowledgement, then, once the request has come, on stream 1 the
# headers (":status: 200", "content-type: application/grpc"), the message SERVING and the trailer "grpc-status: 0".
SETTINGS = r"\0\0\0\4\0\0\0\0\0" + r"\0\0\0\4\1\0\0\0\0"
HEADERS = r"\0\0\24\1\4\0\0\0\1" + r"\210\17\20\20application/grpc"
MESSAGE = r"\0\0\7\0\0\0\0\0\1" + r"\0\0\0\0\2\10\1"
TRAILER = r"\0\0\17\1\5\0\0\0\1" + r"\0\13grpc-status\0010"
SERVING = f"printf '{SETTINGS}'; sleep 0.3; printf '{HEADERS}{MESSAGE}{TRAILER}'; cat > /dev/null"
GRPC = f"cat > /tmp/serving <<'END'\n{SERVING}\nEND\nexec nc -ll -p 5000 -e /bin/sh /tmp/serving"
ASKED = {"grpc": {"port": 5000}, "initialDelaySeconds": 10, "timeoutSeconds": 5}
probed(KEPT + "GRPC liveness probe [NodeConformance]", False, GRPC, ASKED)
probed(RESTARTED + "GRPC liveness probe [NodeConformance]", True, GRPC, {**ASKED, "grpc": {"port": 2333}})


@behaviour(PROBING + "with readiness probe should not be ready before initial delay and never restart [NodeConformance]")
def not_before(world):
    pods = Pods(world, world.namespace("container-probe"))
    pods.create("probed", pods.container(SERVES + "wait", readinessProbe={**HTTP, "initialDelaySeconds": 30}))
    pod = pods.ready("probed", 120)
    ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")
    span = moment(ready["lastTransitionTime"]) - moment(status(pod)["state"]["running"]["startedAt"])
    assert span.total_seconds() >= 30, span
    equal(status(pod)["restartCount"], 0)


@behaviour(PROBING + "with readiness probe that fails should never be ready and never restart [NodeConformance]")
def never_ready(world):
    pods = Pods(world, world.namespace("container-probe"))
    pods.create("probed", pods.container(readinessProbe={"exec": {"command": ["/bin/false"]}, "initialDelaySeconds": 5}))
    pods.phase("probed", "Running")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pod = pods.resource.get("probed")
        equal((status(pod).get("ready"), status(pod)["restartCount"]), (False, 0))
        time.sleep(1)
