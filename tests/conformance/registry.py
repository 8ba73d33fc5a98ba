"""The behaviours by title, and what each is given: the API and a namespace of its own."""

import itertools
import os

from client import eventually, meta

BEHAVIOURS = {}
_numbers = itertools.count(1)


def behaviour(*titles, serial=False):
    """Registers a function under the title that `conformance.yaml` gives it. A serial one runs alone."""

    def register(function):
        for title in titles:
            assert title not in BEHAVIOURS, title
            BEHAVIOURS[title] = (function, serial)
        return function

    return register


def unique(stem):
    return f"{stem}-{os.getpid()}-{next(_numbers)}"


class World:
    """One run of one behaviour: an API, the image of its containers, and what is to be undone afterwards."""

    def __init__(self, api, image=None):
        self.api, self.image, self.undo = api, image, []

    def namespace(self, stem="conformance", labels=None):
        """A namespace as the test framework makes one: labelled, with its service account and root certificate."""
        name = unique(stem)
        labels = {"e2e-framework": stem, "e2e-run": str(os.getpid()), "pod-security.kubernetes.io/enforce": "privileged", **(labels or {})}
        namespaces = self.api.resource("v1", "namespaces")
        namespaces.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name, labels)})
        self.after(lambda: namespaces.delete(name))
        accounts, maps = self.api.resource("v1", "serviceaccounts", name), self.api.resource("v1", "configmaps", name)
        eventually("the default service account", lambda: accounts.exists("default"))
        eventually("kube-root-ca.crt", lambda: maps.exists("kube-root-ca.crt"))
        return name

    def resource(self, group_version, plural, namespace=None):
        return self.api.resource(group_version, plural, namespace)

    def after(self, action):
        self.undo.append(action)
