"""For unit tests in ordinary Python."""

import json
from types import SimpleNamespace

from ._wit import types


def create(object):
    """The creation of an object, as a policy is asked."""
    metadata = object.get("metadata", {})
    return SimpleNamespace(
        name=metadata.get("name", ""),
        namespace=metadata.get("namespace", ""),
        object=json.dumps(object),
        old_object=None,
        options=None,
    )


def scores(plugin, settings, nodes):
    """The scores of a scheduler plugin; nodes are dictionaries of columns by name."""
    it = plugin()
    it.configure(json.dumps(settings))
    rows = list(range(len(nodes)))
    dictionary, columns = [], []
    for name in type(it).running.columns():
        validity = bytearray((len(nodes) + 7) // 8)
        for n, node in enumerate(nodes):
            validity[n >> 3] |= (name in node) << (n & 7)
        if any(isinstance(node.get(name), str) for node in nodes):
            indexes = []
            for node in nodes:
                indexes.append(len(dictionary))
                dictionary.append(node.get(name, ""))
            values = types.Values_Texts(indexes)
        else:
            values = types.Values_Integers([node.get(name, 0) for node in nodes])
        columns.append(types.Column(name, bytes(validity), values))
    it.update(types.Delta(0, 1, [], rows, dictionary, columns))
    pod = SimpleNamespace(cycle=1, name="", namespace="", labels=[], annotations=[], requests=[], scoring=[], node_selector=[])
    it.pre_filter(pod)
    return it.score(1, b"", rows)
