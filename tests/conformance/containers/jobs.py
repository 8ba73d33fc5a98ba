"""Jobs whose pods come to an end: completions, indexes, and policies of failure and success."""

import re

from client import equal, eventually, meta, refused
from registry import behaviour
from workloads import condition_of, controller_of, template, until

TITLE = "[sig-apps] Job "
FAIL_ODD = "exit $(( JOB_COMPLETION_INDEX % 2 ))"
HANG_ODD = "[ $(( JOB_COMPLETION_INDEX % 2 )) = 0 ] && exit 0; sleep 100000"
FAIL_ONCE = "[ -f /data/foo ] && exit 0; touch /data/foo; exit 1"
FOREVER = "trap exit TERM; while :; do sleep 1; done"


def jobs(world):
    namespace = world.namespace("job")
    return world.resource("batch/v1", "jobs", namespace), world.resource("v1", "pods", namespace)


def job(world, name, command, parallelism, completions, restart="Never", pod=None, indexed=False, **spec):
    made = template(world, {"job": name}, command, restartPolicy=restart, **(pod or {}))
    if indexed:
        spec["completionMode"] = "Indexed"
    spec = {"parallelism": parallelism, "completions": completions, "template": made, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta(name), "spec": spec}


def ends(resource, name, kind, reason=None, seconds=120):
    """The job once it has the condition, with its reason, and before it the condition that announces the end."""
    found = until(resource, name, kind, lambda job: (condition_of(job, kind) or {}).get("status") == "True", seconds)
    if reason:
        equal(condition_of(found, kind)["reason"], reason)
    announced = condition_of(found, "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget")
    assert announced and announced["status"] == "True", found["status"]
    if reason:
        equal(announced["reason"], reason)
    assert not found["status"].get("active") and not found["status"].get("terminating"), found["status"]
    return found


def running(pods, name, count):
    def look():
        found = pods.list(labelSelector=f"job={name}")["items"]
        return len([pod for pod in found if pod["status"].get("phase") == "Running"]) == count and found

    return eventually(f"{count} pods run", look)


@behaviour(TITLE + "should create pods for an Indexed job with completion indexes and specified hostname")
def indexed(world):
    resource, pods = jobs(world)
    resource.create(job(world, "indexed-job", 'echo "$HOSTNAME $(hostname) $JOB_COMPLETION_INDEX"', 2, 4, indexed=True))
    found = ends(resource, "indexed-job", "Complete", "CompletionsReached")
    equal((found["status"]["completedIndexes"], found["status"]["succeeded"]), ("0-3", 4))
    assert found["status"]["completionTime"], found["status"]
    indexes = set()
    for pod in pods.list(labelSelector="job=indexed-job")["items"]:
        index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        equal(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], index)
        equal(pod["spec"]["hostname"], f"indexed-job-{index}")
        assert pod["metadata"]["name"].startswith(f"indexed-job-{index}-"), pod["metadata"]["name"]
        equal(pods.get(pod["metadata"]["name"], "log").decode().split(), [f"indexed-job-{index}"] * 2 + [index])
        assert "batch.kubernetes.io/job-tracking" not in pod["metadata"].get("finalizers", []), pod["metadata"]
        indexes.add(index)
    equal(indexes, set("0123"))


@behaviour(TITLE + "should allow to use the pod failure policy on exit code to fail the job early")
def fails_early(world):
    resource, pods = jobs(world)
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]
    resource.create(job(world, "pod-failure-policy-failjob", "exit 1", 1, 1, backoffLimit=1, podFailurePolicy={"rules": rules}))
    found = ends(resource, "pod-failure-policy-failjob", "Failed", "PodFailurePolicy")
    equal(found["status"]["failed"], 1)
    said = condition_of(found, "Failed")["message"]
    assert re.fullmatch(r"Container c for pod \S+ failed with exit code 1 matching FailJob rule at index 0", said), said
    equal(len(pods.list()["items"]), 1)


@behaviour(TITLE + "should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition")
def ignores_disruption(world):
    resource, pods = jobs(world)
    name, rules = "pod-failure-policy-ignore", [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    # The first to come stays: a file of the node tells who comes again.
    mark = f"/tmp/{pods.namespace}"
    node = world.resource("v1", "nodes").names()[0]
    again = "[ -e /data/mark ] && exit 0; touch /data/mark; trap 'exit 143' TERM; while :; do sleep 1; done"
    volume = {"name": "data", "hostPath": {"path": mark, "type": "DirectoryOrCreate"}}
    body = job(world, name, again, 1, 1, backoffLimit=0, podFailurePolicy={"rules": rules}, pod={"nodeName": node, "volumes": [volume]})
    body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    resource.create(body)
    [pod] = running(pods, name, 1)
    first = pod["metadata"]["name"]
    eventually("the mark", lambda: b"" == pods.get(first, "log"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first, "namespace": pods.namespace}}
    world.api.call("POST", pods.of(first, "eviction"), eviction)
    eventually("the evicted pod is gone", lambda: not pods.exists(first))
    found = ends(resource, name, "Complete", "CompletionsReached")
    assert not found["status"].get("failed"), found["status"]


@behaviour(TITLE + "should execute all indexes despite some failing when using backoffLimitPerIndex")
def backoff_per_index(world):
    resource, pods = jobs(world)
    resource.create(job(world, "backoff", FAIL_ODD, 2, 4, indexed=True, backoffLimitPerIndex=1))
    equal(resource.get("backoff")["spec"]["backoffLimit"], 2147483647)
    found = ends(resource, "backoff", "Failed", "FailedIndexes", 180)
    status = found["status"]
    equal((status["failedIndexes"], status["completedIndexes"], status["failed"], status["succeeded"]), ("1,3", "0,2", 4, 2))
    equal(condition_of(found, "Failed")["message"], "Job has failed indexes")
    counts = [p["metadata"]["annotations"].get("batch.kubernetes.io/job-index-failure-count") for p in pods.list()["items"]]
    equal(sorted(counts), ["0", "0", "0", "0", "1", "1"])


@behaviour(TITLE + "should mark indexes as failed when the FailIndex action is matched in podFailurePolicy")
def fail_index(world):
    resource, _ = jobs(world)
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]
    resource.create(job(world, "fail-index", FAIL_ODD, 2, 2, indexed=True, backoffLimitPerIndex=1, podFailurePolicy={"rules": rules}))
    status = ends(resource, "fail-index", "Failed", "FailedIndexes")["status"]
    equal((status["failedIndexes"], status["completedIndexes"], status["failed"], status["succeeded"]), ("1", "0", 1, 1))


@behaviour(TITLE + "should terminate job execution when the number of failed indexes exceeds maxFailedIndexes")
def max_failed_indexes(world):
    resource, _ = jobs(world)
    resource.create(job(world, "max-failed", "exit 1", 1, 4, indexed=True, backoffLimitPerIndex=0, maxFailedIndexes=0))
    found = ends(resource, "max-failed", "Failed", "MaxFailedIndexesExceeded")
    equal((found["status"]["failedIndexes"], found["status"]["failed"]), ("0", 1))
    assert not found["status"].get("completedIndexes") and not found["status"].get("succeeded"), found["status"]
    equal(condition_of(found, "Failed")["message"], "Job has exceeded the specified maximal number of failed indexes")


@behaviour(TITLE + "should run a job to completion when tasks sometimes fail and are locally restarted")
def restarted(world):
    resource, pods = jobs(world)
    body = job(world, "fail-once-local", FAIL_ONCE, 2, 4, "OnFailure", {"volumes": [{"name": "data", "emptyDir": {}}]}, backoffLimit=999)
    body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    resource.create(body)
    equal(ends(resource, "fail-once-local", "Complete", "CompletionsReached", 240)["status"]["succeeded"], 4)
    found = pods.list(labelSelector="job=fail-once-local")["items"]
    successes = [pod for pod in found if pod["status"]["phase"] == "Succeeded"]
    equal([pod["status"]["containerStatuses"][0]["restartCount"] for pod in successes], [1] * 4)


def success_policy(*titles, command, wanted, completions, rule):
    @behaviour(*titles)
    def run(world):
        resource, pods = jobs(world)
        resource.create(job(world, "policy", command, completions, completions, indexed=True, successPolicy={"rules": [rule]}))
        found = ends(resource, "policy", "Complete", "SuccessPolicy")
        equal((found["status"]["completedIndexes"], found["status"]["succeeded"]), wanted)
        equal(condition_of(found, "SuccessCriteriaMet")["message"], "Matched rules at index 0")
        eventually("no pod runs", lambda: not [p for p in pods.list()["items"] if p["status"]["phase"] == "Running"])


success_policy(TITLE + "with successPolicy should succeeded when all indexes succeeded", command="exit 0", wanted=("0,1", 2), completions=2, rule={"succeededIndexes": "0-1"})
success_policy(
    TITLE + "with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending",
    command=HANG_ODD, wanted=("0", 1), completions=2, rule={"succeededIndexes": "0"},
)
success_policy(
    TITLE + "with successPolicy succeededCount rule should succeeded even when some indexes remain pending",
    command=HANG_ODD, wanted=("0", 1), completions=2, rule={"succeededCount": 1},
)


@behaviour(TITLE + "should adopt matching orphans and release non-matching pods")
def adopts(world):
    resource, pods = jobs(world)
    made = resource.create(job(world, "adopt-release", FOREVER, 2, 4))
    name = running(pods, "adopt-release", 2)[0]["metadata"]["name"]
    pods.change(name, lambda pod: pod["metadata"].update(ownerReferences=[]))
    eventually("the orphan is adopted", lambda: (controller_of(pods.get(name)) or {}).get("uid") == made["metadata"]["uid"])
    pods.change(name, lambda pod: pod["metadata"].update(labels={}))
    eventually("the pod is released", lambda: controller_of(pods.get(name)) is None)


@behaviour(TITLE + "should delete a job")
def deletes(world):
    resource, pods = jobs(world)
    resource.create(job(world, "foo", FOREVER, 2, 4))
    running(pods, "foo", 2)
    resource.delete("foo", {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
    eventually("its pods are gone", lambda: not pods.list()["items"])
    refused(404, lambda: resource.get("foo"))


@behaviour(TITLE + "should apply changes to a job status")
def status(world):
    resource, pods = jobs(world)
    resource.create(job(world, "e2e-status", FOREVER, 2, 4, suspend=False))
    running(pods, "e2e-status", 2)
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"startTime": None}}
    equal(resource.patch("e2e-status", patch, "status")["metadata"]["annotations"]["patchedstatus"], "true")
    added = {"type": "CustomConditionType", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z", "message": "m", "reason": "E2E"}
    resource.change("e2e-status", lambda found: found["status"].setdefault("conditions", []).append(added), "status")
    assert condition_of(resource.get("e2e-status", "status"), "CustomConditionType"), "the condition is lost"


@behaviour(TITLE + "should manage the lifecycle of a job")
def life(world):
    resource, pods = jobs(world)
    resource.create(job(world, "e2e-life", "exit 0", 2, 4, suspend=True, backoffLimit=6))
    until(resource, "e2e-life", "is suspended", lambda job: (condition_of(job, "Suspended") or {}).get("status") == "True")
    equal(pods.list()["items"], [])
    patched = resource.patch("e2e-life", {"metadata": {"labels": {"e2e-life": "patched"}}, "spec": {"suspend": False}})
    equal(patched["metadata"]["labels"]["e2e-life"], "patched")
    resource.change("e2e-life", lambda found: found["metadata"].setdefault("annotations", {}).update(updated="true"))
    watch = resource.watch(labelSelector="e2e-life=patched")
    ends(resource, "e2e-life", "Complete", "CompletionsReached")
    equal(len(world.resource("batch/v1", "jobs").list(labelSelector="e2e-life=patched")["items"]), 1)
    resource.delete_collection({"propagationPolicy": "Background"}, labelSelector="e2e-life=patched")
    watch.until(lambda event: event["type"] == "DELETED")
    watch.close()
    eventually("its pods are gone", lambda: not pods.list()["items"])
