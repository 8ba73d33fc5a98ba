"""What the host offers to every plugin."""

from ._wit import clock, log as _log, metrics

LEVELS = {"debug": _log.Level.DEBUG, "info": _log.Level.INFO, "warn": _log.Level.WARN, "error": _log.Level.ERROR}


def log(message, level="info"):
    """One line for the server's log."""
    _log.write(LEVELS[level], message)


def now():
    """Milliseconds since 1970."""
    return clock.now()


def count(name, amount=1.0):
    """Adds to a counter, shown at `/metrics` as `mizzen_plugin_user_<name>`."""
    metrics.count(name, amount)


def gauge(name, value):
    """Sets a gauge."""
    metrics.gauge(name, value)
