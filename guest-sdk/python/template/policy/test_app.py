import unittest

from app import Policy
from mizzen.testing import create


class RequiredLabels(unittest.TestCase):
    def test_an_object_without_the_label_is_denied(self):
        policy = Policy()
        policy.configure('{"labels": ["team"]}')
        answer = lambda labels: policy.review(create({"kind": "Pod", "metadata": {"labels": labels}})).decision
        self.assertFalse(hasattr(answer({"team": "shop"}), "value"))
        self.assertEqual(answer({}).value.message, "missing labels: team")


if __name__ == "__main__":
    unittest.main()
