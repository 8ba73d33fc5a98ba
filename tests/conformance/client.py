"""A plain client of the Kubernetes API: paths, verbs, bodies and answers as they cross the wire."""

import json
import threading
import time
from urllib.parse import urlencode

import urllib3
from kubernetes import config

PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE, STRATEGIC, JSON_PATCH, APPLY = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)


class Refused(Exception):
    """An answer of 400 and above, with the Status in its body."""

    def __init__(self, method, path, status, body):
        self.status, self.body = status, body
        self.message = body.get("message", "") if isinstance(body, dict) else str(body)
        super().__init__(f"{method} {path}: {status} {self.message}")


class Api:
    """One identity's connection to the API server of a kubeconfig."""

    def __init__(self, kubeconfig, headers=None):
        self.kubeconfig = kubeconfig
        loaded = config.new_client_from_config(kubeconfig)
        self.host, self.pool, self.headers = loaded.configuration.host, loaded.rest_client.pool_manager, headers or {}
        self.pool.connection_pool_kw["maxsize"] = 64

    def as_user(self, name, groups=()):
        other = Api(self.kubeconfig, {"Impersonate-User": name})
        for group in groups:
            other.headers["Impersonate-Group"] = group
        return other

    def raw(self, method, path, body=None, accept="application/json", content="application/json", stream=False, **query):
        """The answer of any status. A query's value may be a list; None leaves it out."""
        query = {key.rstrip("_"): value for key, value in query.items() if value is not None}
        url = f"{self.host}{path}" + ("?" + urlencode(query, doseq=True) if query else "")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        headers = {"Accept": accept, **self.headers}
        if body is not None:
            headers["Content-Type"] = content
        timeout = urllib3.Timeout(connect=10, read=90)
        return self.pool.request(method, url, body=body, headers=headers, preload_content=not stream, timeout=timeout, retries=False)

    def call(self, method, path, body=None, **options):
        """The answer's JSON; raises `Refused` for 400 and above."""
        answer = self.raw(method, path, body, **options)
        kind = answer.headers.get("Content-Type", "")
        document = json.loads(answer.data) if "json" in kind and answer.data else answer.data
        if answer.status >= 400:
            raise Refused(method, path, answer.status, document)
        return document

    def resource(self, group_version, plural, namespace=None):
        return Resource(self, group_version, plural, namespace)


class Resource:
    """One resource, in one namespace or in all."""

    def __init__(self, api, group_version, plural, namespace=None):
        self.api, self.group_version, self.plural, self.namespace = api, group_version, plural, namespace
        root = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
        self.path = f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"

    def of(self, name, *sub):
        return "/".join([self.path, name, *sub])

    def create(self, body, **options):
        return self.api.call("POST", self.path, body, **options)

    def get(self, name, *sub, **options):
        return self.api.call("GET", self.of(name, *sub), **options)

    def list(self, **options):
        return self.api.call("GET", self.path, **options)

    def names(self, **options):
        return sorted(item["metadata"]["name"] for item in self.list(**options)["items"])

    def update(self, body, *sub, **options):
        return self.api.call("PUT", self.of(body["metadata"]["name"], *sub), body, **options)

    def patch(self, name, body, *sub, kind=MERGE, **options):
        return self.api.call("PATCH", self.of(name, *sub), body, content=kind, **options)

    def change(self, name, change, *sub):
        """Get, change and update, again when somebody else was faster."""
        while True:
            body = self.get(name, *sub)
            change(body)
            try:
                return self.update(body, *sub)
            except Refused as refused:
                if refused.status != 409:
                    raise

    def delete(self, name, options=None, **query):
        return self.api.call("DELETE", self.of(name), options, **query)

    def delete_collection(self, options=None, **query):
        return self.api.call("DELETE", self.path, options, **query)

    def exists(self, name):
        try:
            self.get(name)
            return True
        except Refused as refused:
            if refused.status != 404:
                raise
            return False

    def watch(self, **options):
        return Watch(self, options)


class Ended(AssertionError):
    """A watch from which no event comes any more."""


class Watch:
    """A watch that is open from the moment it is made; a thread collects what it says."""

    def __init__(self, resource, options):
        options = {"watch": "true", "timeoutSeconds": 300, **options}
        self.answer = resource.api.raw("GET", resource.path, stream=True, **options)
        if self.answer.status >= 400:
            raise Refused("GET", resource.path, self.answer.status, json.loads(self.answer.read() or b"{}"))
        self.events, self.seen, self.ended, self.news = [], 0, False, threading.Condition()
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        rest = b""
        try:
            for piece in self.answer.stream(65536, decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                with self.news:
                    self.events += [json.loads(line) for line in lines if line]
                    self.news.notify_all()
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError):
            pass  # closed by either side
        finally:
            with self.news:
                self.ended = True
                self.news.notify_all()

    def next(self, seconds=60):
        """The next event that was not yet taken."""
        end = time.monotonic() + seconds
        with self.news:
            while self.seen == len(self.events):
                if self.ended:
                    raise Ended(f"the watch has ended after {[e['type'] for e in self.events]}")
                if not self.news.wait(end - time.monotonic()) and time.monotonic() >= end:
                    raise AssertionError(f"no further event within {seconds} s after {[e['type'] for e in self.events]}")
            self.seen += 1
            return self.events[self.seen - 1]

    def until(self, wanted, seconds=60):
        while True:
            event = self.next(seconds)
            if wanted(event):
                return event

    def quiet(self, seconds=1.0):
        """Nothing more comes: only a span can show that."""
        with self.news:
            self.news.wait_for(lambda: self.ended or self.seen != len(self.events), seconds)
            assert not self.ended, "a watch that has ended shows nothing"
            assert self.seen == len(self.events), self.events[self.seen :]

    def close(self):
        try:
            self.answer.shutdown()  # closing would wait for the thread that reads
        except RuntimeError:
            pass  # it has ended by itself


def refused(status, action, *said):
    """The action is refused with this status and a message that has each of these parts."""
    try:
        answer = action()
    except Refused as refusal:
        assert refusal.status == status, f"{status} was due: {refusal}"
        for part in said:
            assert part in refusal.message, f"{part!r} is not in {refusal.message!r}"
        return refusal
    raise AssertionError(f"{status} was due, got {str(answer)[:400]}")


def eventually(what, probe, seconds=120, every=0.1):
    """What `probe` gives as soon as that is true; an answer of 404 or 409 counts as not yet."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = probe()
            if last:
                return last
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise
            last = refusal
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}; last: {str(last)[:600]}")


def equal(found, wanted):
    assert found == wanted, f"found {found!r}, wanted {wanted!r}"


def meta(name=None, labels=None, **more):
    found = {"name": name, "labels": labels, **more}
    return {key: value for key, value in found.items() if value is not None}
