"""The contract's types: those of componentize-py within a component, stand-ins with the same names in unit tests."""

try:
    from componentize_py_types import Err
    from wit_world.imports import clock, log, metrics, types
except ImportError:
    from . import _stand_ins as types
    from ._stand_ins import Err, clock, log, metrics

__all__ = ["Err", "clock", "log", "metrics", "types"]
