"""Lists in pages."""

import concurrent.futures
import random

from client import Refused, equal, eventually
from registry import behaviour

TOTAL = 400


def templates(world):
    resource = world.resource("v1", "podtemplates", world.namespace("chunking"))

    def make(number):
        spec = {"containers": [{"name": "test", "image": "test2"}]}
        body = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": f"template-{number:04}"}, "template": {"spec": spec}}
        resource.create(body)

    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        list(workers.map(make, range(TOTAL)))
    return resource


def check(page, found, limit):
    """The page goes on where the last ended, says how many remain, and gives the number found so far."""
    assert len(page["items"]) <= limit
    equal([item["metadata"]["name"] for item in page["items"]], [f"template-{found + n:04}" for n in range(len(page["items"]))])
    found += len(page["items"])
    remaining = page["metadata"].get("remainingItemCount")
    equal(remaining, TOTAL - found if page["metadata"].get("continue") else None)
    return found


@behaviour("[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls")
def pages(world):
    resource = templates(world)
    for _ in range(3):
        found, token, version = 0, None, None
        while token != "":
            limit = random.randint(1, TOTAL // 10)
            page = resource.list(limit=limit, continue_=token)
            found = check(page, found, limit)
            version = version or page["metadata"]["resourceVersion"]
            equal(page["metadata"]["resourceVersion"], version)
            token = page["metadata"].get("continue", "")
        equal(found, TOTAL)
    equal(len(resource.list(limit=TOTAL + 1)["items"]), TOTAL)


@behaviour(
    "[sig-api-machinery] Servers with support for API chunking should support continue listing from the last key "
    "if the original version has been compacted away, though the list is inconsistent [Slow]"
)
def pages_across_compaction(world):
    resource = templates(world)
    limit = TOTAL // 10
    page = resource.list(limit=limit)
    found, first = check(page, 0, limit), page["metadata"]

    def expires():
        try:
            resource.list(limit=limit, continue_=first["continue"])
        except Refused as refusal:
            equal((refusal.status, refusal.body["reason"]), (410, "Expired"))
            return refusal.body["metadata"]["continue"]

    token = eventually("the continue token expires", expires, seconds=660, every=5)
    page = resource.list(limit=limit, continue_=token)
    found, version = check(page, found, limit), page["metadata"]["resourceVersion"]
    assert version != first["resourceVersion"]
    while token := page["metadata"].get("continue"):
        page = resource.list(limit=limit, continue_=token)
        equal(page["metadata"]["resourceVersion"], version)
        found = check(page, found, limit)
    equal(found, TOTAL)
