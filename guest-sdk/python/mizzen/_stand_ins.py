"""What unit tests see in place of a component's bindings: records that keep what they are given."""

from enum import Flag, auto
from types import SimpleNamespace


class Err(Exception):
    def __init__(self, value):
        super().__init__(value)
        self.value = value


class Record(SimpleNamespace):
    fields = ()

    def __init__(self, *values):
        super().__init__(**dict(zip(self.fields, values)))


def _record(name, *fields):
    return type(name, (Record,), {"fields": fields})


Description = _record("Description", "first", "second", "third")
Need = _record("Need", "api_version", "kind", "namespace", "label_selector", "indexes")
Status = _record("Status", "code", "reason", "message")
Response = _record("Response", "decision", "warnings", "audit_annotations")
Decision_Allow = _record("Decision_Allow")
Decision_Deny = _record("Decision_Deny", "value")
Decision_Replace = _record("Decision_Replace", "value")
Rejection = _record("Rejection", "reasons", "unresolvable")
Verdicts = _record("Verdicts", "nodes", "rejections")
Permission_Allow = _record("Permission_Allow")
Permission_Wait = _record("Permission_Wait", "value")
Permission_Deny = _record("Permission_Deny", "value")
Values_Integers = _record("Values_Integers", "value")
Values_Texts = _record("Values_Texts", "value")
Values_TextLists = _record("Values_TextLists", "value")
Column = _record("Column", "name", "validity", "values")
Delta = _record("Delta", "since", "generation", "removed", "changed", "dictionary", "columns")


class Points(Flag):
    FILTER = auto()
    POST_FILTER = auto()
    PRE_SCORE = auto()
    SCORE = auto()
    RESERVE = auto()
    UNRESERVE = auto()
    PERMIT = auto()
    PRE_BIND = auto()


class Wakes(Flag):
    NODE_ADDED = auto()
    NODE_CHANGED = auto()
    POD_PLACED = auto()
    POD_LEFT = auto()


log = SimpleNamespace(Level=SimpleNamespace(DEBUG=0, INFO=1, WARN=2, ERROR=3), write=lambda level, line: print(line))
clock = SimpleNamespace(now=lambda: 0)
metrics = SimpleNamespace(count=lambda name, amount: None, gauge=lambda name, value: None)
