"""A scheduler plugin as a class: derive from `Scheduler`, then `Plugin = plugin(YourClass)`."""

import json

from ._wit import Err, types

POINTS = {
    "filter": types.Points.FILTER,
    "post_filter": types.Points.POST_FILTER,
    "pre_score": types.Points.PRE_SCORE,
    "score": types.Points.SCORE,
    "reserve": types.Points.RESERVE,
    "unreserve": types.Points.UNRESERVE,
    "permit": types.Points.PERMIT,
    "pre_bind": types.Points.PRE_BIND,
}


def reject(reason, unresolvable=False):
    """Why a node, or a pod as a whole, is turned down. Where it is unresolvable, removing other pods does not help."""
    return types.Rejection([reason], unresolvable)


class Node:
    """A row of the columns."""

    def __init__(self, cluster, row):
        self.cluster = cluster
        self.row = row

    def get(self, column):
        """Its value; None where it has none."""
        return self.cluster.columns.get(column, {}).get(self.row)


class Cluster:
    """The columns that the plugin asked for, kept up to date."""

    def __init__(self):
        self.columns = {}
        self.dictionary = []

    def change(self, delta):
        if delta.since == 0:
            self.columns, self.dictionary = {}, []
        self.dictionary += delta.dictionary
        for values in self.columns.values():
            for row in delta.removed:
                values.pop(row, None)
        for column in delta.columns:
            held = self.columns.setdefault(column.name, {})
            for n, (row, value) in enumerate(zip(delta.changed, self._read(column.values))):
                if not column.validity or column.validity[n >> 3] >> (n & 7) & 1:
                    held[row] = value
                else:
                    held.pop(row, None)

    def _read(self, values):
        if isinstance(values, types.Values_Texts):
            # A row without a value may hold any index.
            return (self.dictionary[n] if n < len(self.dictionary) else None for n in values.value)
        if isinstance(values, types.Values_TextLists):
            starts = [0, *values.value.ends]
            return ([self.dictionary[n] for n in values.value.items[a:b]] for a, b in zip(starts, values.value.ends))
        return values.value


class Scheduler:
    """
    The extension points that a derived class defines are called, no others: `filter(pod, node)` answers None or `reject(…)`,
    `score(pod, node)` a number from 0 to 100, `permit(pod, node)` None, `("wait", ask_again_ms, at_most_ms)` or
    `("deny", why)`; `reserve(pod, node)` and `pre_bind(pod, node)` raise ValueError with why not; `unreserve(pod, node)`,
    `post_filter(pod)` and `pre_score(pod, nodes)` are as the contract says. `pre_filter(pod, cluster)` and `end(pod)` are
    called in every cycle.
    """

    def __init__(self, settings):
        """Raises ValueError with what is wrong with the settings."""
        self.settings = settings

    def columns(self):
        """The names of the columns that it reads."""
        return []

    def pre_filter(self, pod, cluster):
        return None

    def end(self, pod):
        pass


def plugin(made_of):
    """What the world `scheduler-plugin` exports; call it `Plugin`."""

    class Plugin:
        running = None
        cluster = Cluster()
        pods = {}

        def configure(self, text):
            try:
                Plugin.running = made_of(json.loads(text))
            except ValueError as error:
                raise Err(str(error)) from None

        def describe(self):
            points = types.Points(0)
            for name, point in POINTS.items():
                if hasattr(made_of, name):
                    points |= point
            return types.Description(points, Plugin.running.columns(), types.Wakes(0))

        def update(self, delta):
            Plugin.cluster.change(delta)

        def pre_filter(self, pod):
            for field in ("labels", "annotations", "requests", "scoring", "node_selector"):
                setattr(pod, field, dict(getattr(pod, field)))
            Plugin.pods[pod.cycle] = pod
            rejection = Plugin.running.pre_filter(pod, Plugin.cluster)
            if rejection is not None:
                raise Err(rejection)
            return b""

        def filter(self, cycle, state, rows):
            nodes, rejections, known = [], [], {}
            for row in rows:
                rejection = Plugin.running.filter(Plugin.pods[cycle], Node(Plugin.cluster, row))
                if rejection is None:
                    nodes.append(0)
                    continue
                same = (tuple(rejection.reasons), rejection.unresolvable)
                if same not in known:
                    rejections.append(rejection)
                    known[same] = len(rejections)
                nodes.append(known[same])
            return types.Verdicts(nodes, rejections)

        def post_filter(self, cycle, state):
            return Plugin.running.post_filter(Plugin.pods[cycle])

        def pre_score(self, cycle, state, rows):
            Plugin.running.pre_score(Plugin.pods[cycle], [Node(Plugin.cluster, row) for row in rows])
            return state

        def score(self, cycle, state, rows):
            pod = Plugin.pods[cycle]
            return [int(Plugin.running.score(pod, Node(Plugin.cluster, row))) for row in rows]

        def reserve(self, cycle, state, row):
            self._told("reserve", cycle, row)

        def unreserve(self, cycle, state, row):
            Plugin.running.unreserve(Plugin.pods[cycle], Node(Plugin.cluster, row))

        def permit(self, cycle, state, row):
            answer = Plugin.running.permit(Plugin.pods[cycle], Node(Plugin.cluster, row))
            if answer is None:
                return types.Permission_Allow()
            if answer[0] == "wait":
                return types.Permission_Wait((answer[1], answer[2]))
            return types.Permission_Deny(answer[1])

        def pre_bind(self, cycle, state, row):
            self._told("pre_bind", cycle, row)

        def end(self, cycle):
            pod = Plugin.pods.pop(cycle, None)
            if pod is not None:
                Plugin.running.end(pod)

        def _told(self, point, cycle, row):
            try:
                getattr(Plugin.running, point)(Plugin.pods[cycle], Node(Plugin.cluster, row))
            except ValueError as error:
                raise Err(str(error)) from None

    return Plugin
