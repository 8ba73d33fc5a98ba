"""Resources of running containers that change in place."""

import json
import math

from client import STRATEGIC, equal
from pods import Pods, condition
from registry import behaviour

RESIZE = "[sig-node] Pod InPlace Resize Container "
VERSION = " [MinimumKubeletVersion:1.34]"


def resources(requests=(None, None), limits=(None, None)):
    """CPU in thousandths and memory in Mi, of requests and of limits; what is not set is not there."""

    def named(pair):
        return {name: f"{value}{unit}" for name, value, unit in zip(("cpu", "memory"), pair, ("m", "Mi")) if value}

    return {name: named(pair) for name, pair in (("requests", requests), ("limits", limits)) if named(pair)}


def guaranteed(cpu, memory):
    return resources((cpu, memory), (cpu, memory))


def weights(shares):
    """The weights that runtimes make of shares, by either formula."""
    log = math.log2(shares)
    return {str(1 + (shares - 2) * 9999 // 262142), str(math.ceil(10 ** (log * log / 612 + log * 125 / 612 - 7 / 34)))}


def limits_of_group(pods, name, wanted):
    """What the kernel enforces on each container, by control groups of either version."""
    for container, resources in wanted.items():
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        second = "cpu.max memory.max cpu.weight"
        first = "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory/memory.limit_in_bytes cpu/cpu.shares"
        said = pods.exec(name, f"cd /sys/fs/cgroup; if [ -e cpu.max ]; then cat {second}; else cat {first}; fi", container).split()
        quota = max(1000, int(limits["cpu"].removesuffix("m")) * 100) if "cpu" in limits else None
        memory = int(limits["memory"].removesuffix("Mi")) << 20 if "memory" in limits else None
        shares = max(2, int((requests.get("cpu") or limits.get("cpu") or "0m").removesuffix("m")) * 1024 // 1000)
        bound = said[2] not in ("max", "9223372036854771712")
        found = (said[0] if said[0] not in ("max", "-1") else None, said[1], said[2] if bound else None)
        equal((container, *found), (container, str(quota) if quota else None, "100000", str(memory) if memory else None))
        assert said[3] in (str(shares), *weights(shares)), (container, said[3], shares)


def settled(pods, name, wanted):
    """The status says so, no condition of a resize is left, and nothing was restarted."""

    def holds(pod):
        found = {status["name"]: status.get("resources") or {} for status in pod["status"].get("containerStatuses") or []}
        left = [condition(pod, kind) for kind in ("PodResizePending", "PodResizeInProgress")]
        return found == wanted and left == [None, None] and condition(pod, "Ready") == "True"

    pod = pods.wait(name, f"has the resources {json.dumps(wanted)}", holds, 60)
    for status in pod["status"]["containerStatuses"]:
        equal(status["restartCount"], 0)
        equal(status.get("allocatedResources") or {}, wanted[status["name"]].get("requests", {}))
    limits_of_group(pods, name, wanted)


def by_patch(pods, wanted):
    spec = {"containers": [{"name": name, "resources": found} for name, found in wanted.items()]}
    return pods.resource.patch("resized", {"spec": spec}, "resize", kind=STRATEGIC)


def by_update(pods, wanted):
    def change(pod):
        for container in pod["spec"]["containers"]:
            container["resources"] = wanted[container["name"]]

    return pods.resource.change("resized", change, "resize")


# As upstream makes its pods fit for namespaces that enforce the level "restricted".
OF_POD = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
OF_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def resized(title, original, wanted, back=True, via=by_patch):
    @behaviour(RESIZE + title + VERSION)
    def resizes(world):
        pods = Pods(world, world.namespace("pod-resize-tests", {"pod-security.kubernetes.io/enforce": "restricted"}))
        containers = [pods.container("sleep 86400", name, resources=found, securityContext=OF_CONTAINER) for name, found in original.items()]
        options = {"os": {"name": "linux"}, "restartPolicy": "OnFailure", "securityContext": OF_POD}
        pods.create("resized", *containers, terminationGracePeriodSeconds=0, **options)
        for container in pods.ready("resized")["spec"]["containers"]:
            assert "resizePolicy" not in container, container
        settled(pods, "resized", original)
        for target in [wanted, original] if back else [wanted]:
            answer = via(pods, target)
            equal({one["name"]: one["resources"] for one in answer["spec"]["containers"]}, target)
            settled(pods, "resized", target)


# As upstream has them: 20m is made 25m or 15m and 35Mi is made 40Mi or 30Mi, two more for each next container.
def three(*changes):
    return {f"c{index + 1}": guaranteed(20 + cpu + 2 * index, 35 + memory + 2 * index) for index, (cpu, memory) in enumerate(changes)}


THREE = "guaranteed pods with multiple containers 3 containers - "
BEFORE = three((0, 0), (0, 0), (0, 0))
resized(THREE + "increase cpu & mem on c1, c2, decrease cpu & mem on c3 - net increase", BEFORE, three((5, 5), (5, 5), (-5, -5)))
resized(THREE + "increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease", BEFORE, three((5, 5), (-5, -5), (-5, -5)))
resized(THREE + "increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2)", BEFORE, three((5, 0), (-5, 5), (5, 5)))

BURSTABLE = "burstable pods - extended "
resized(
    BURSTABLE + "6 containers - various operations performed (including adding limits and requests)",
    {"c1": resources((20, None)), "c2": resources((None, 35)), "c3": resources((20, 35)), "c4": resources((20, None)), "c5": resources((None, 35))},
    {
        "c1": resources((25, None), (35, None)),
        "c2": resources((None, 30), (None, 50)),
        "c3": resources((20, 30)),
        "c4": resources((15, 35)),
        "c5": resources((20, 40)),
    },
    back=False,
)
resized(BURSTABLE + "resize with equivalents", {"c1": resources((2, None), (10, None))}, {"c1": resources((1, None), (5, None))})
resized("resize pod via the replace endpoint", {"c1": resources((20, 35), (30, 45))}, {"c1": resources((25, 40), (35, 50))}, via=by_update)
