from mizzen.scheduler import Scheduler, plugin


class PreferLabel(Scheduler):
    """Prefers nodes by the value of a label: the first of the settings' values scores best."""

    def __init__(self, settings):
        self.label = settings.get("label")
        self.values = settings.get("values")
        if not self.label:
            raise ValueError("settings: label is missing")
        if not self.values:
            raise ValueError("values: name at least one")

    def columns(self):
        return [f"label/{self.label}"]

    def score(self, pod, node):
        value = node.get(f"label/{self.label}")
        if value not in self.values:
            return 0
        return 100 * (len(self.values) - self.values.index(value)) // len(self.values)


Plugin = plugin(PreferLabel)
