import unittest

from app import Plugin
from mizzen.testing import scores


class PreferLabel(unittest.TestCase):
    def test_the_most_wanted_value_scores_best(self):
        nodes = [{"label/zone": "north"}, {"label/zone": "south"}, {}]
        self.assertEqual(scores(Plugin, {"label": "zone", "values": ["north", "south"]}, nodes), [100, 50, 0])


if __name__ == "__main__":
    unittest.main()
