"""CronJobs over the minutes, as their policy of concurrency has it."""

import time

from client import equal, eventually, meta
from registry import behaviour
from workloads import template

TITLE = "[sig-apps] CronJob "


def scheduled(world, name, policy):
    namespace = world.namespace("cronjob")
    job = {"spec": {"template": template(world, {"cron": name}, "trap exit TERM; while :; do sleep 1; done", restartPolicy="OnFailure")}}
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": meta(name)}
    resource, jobs = (world.resource("batch/v1", plural, namespace) for plural in ("cronjobs", "jobs"))
    resource.create({**body, "spec": {"schedule": "*/1 * * * ?", "concurrencyPolicy": policy, "jobTemplate": job}})
    return resource, jobs


def active(resource, name):
    return [found["name"] for found in resource.get(name)["status"].get("active", [])]


def unfinished(jobs):
    ended = lambda job: [c for c in job["status"].get("conditions", []) if c["type"] in ("Complete", "Failed") and c["status"] == "True"]  # noqa: E731
    return [job for job in jobs.list()["items"] if not ended(job)]


@behaviour(TITLE + "should schedule multiple jobs concurrently")
def allow(world):
    resource, jobs = scheduled(world, "concurrent", "Allow")
    eventually("two are active", lambda: len(active(resource, "concurrent")) == 2, 150)
    equal(len(unfinished(jobs)), 2)
    resource.delete("concurrent")


@behaviour(TITLE + "should not schedule new jobs when ForbidConcurrent [Slow]")
def forbid(world):
    """The suite waits five minutes for a second job; a schedule that falls due once meanwhile shows it too."""
    resource, jobs = scheduled(world, "forbid", "Forbid")
    [name] = eventually("one is active", lambda: active(resource, "forbid"), 90)
    time.sleep(64 - time.time() % 60)
    equal(active(resource, "forbid"), [name])
    equal([job["metadata"]["name"] for job in jobs.list()["items"]], [name])
    resource.delete("forbid")


@behaviour(TITLE + "should replace jobs when ReplaceConcurrent")
def replace(world):
    resource, jobs = scheduled(world, "replace", "Replace")
    [first] = eventually("one is active", lambda: active(resource, "replace"), 90)
    equal(len(unfinished(jobs)), 1)
    eventually("it is replaced", lambda: active(resource, "replace") not in ([], [first]), 90)
    eventually("the first is gone", lambda: not jobs.exists(first))
    equal(len(active(resource, "replace")), 1)
    resource.delete("replace")
