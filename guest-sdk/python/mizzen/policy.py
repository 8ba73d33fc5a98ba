"""An admission policy as one function: `Policy = policy(review)`."""

import json

from ._wit import Err, types


def allow(warnings=()):
    """The request goes through."""
    return types.Response(types.Decision_Allow(), list(warnings), [])


def deny(message, code=403, reason="", warnings=()):
    """The request is refused."""
    return types.Response(types.Decision_Deny(types.Status(code, reason, message)), list(warnings), [])


def replace(object, warnings=()):
    """The request goes through with this object in place of its own; say `mutating=True` in `policy`."""
    return types.Response(types.Decision_Replace(json.dumps(object)), list(warnings), [])


def need(api_version, kind, namespace="", label_selector="", indexes=()):
    """A kind of which the policy asks in `wit_world.imports.context`."""
    return types.Need(api_version, kind, namespace, label_selector, list(indexes))


def policy(review, validate=lambda settings: None, mutating=False, needs=()):
    """
    What the world `admission-policy` exports; call it `Policy`.

    `review(request, settings)` answers `allow()`, `deny(…)` or `replace(…)`; `request.object` and `request.old_object` are
    dictionaries, or None. `validate(settings)` raises ValueError with what is wrong with the settings.
    """

    class Policy:
        settings = {}

        def validate_settings(self, text):
            try:
                validate(json.loads(text))
            except ValueError as error:
                raise Err(str(error)) from None

        def configure(self, text):
            Policy.settings = json.loads(text)
            return types.Description(mutating, list(needs))

        def review(self, request):
            for field in ("object", "old_object", "options"):
                value = getattr(request, field)
                setattr(request, field, None if value is None else json.loads(value))
            return review(request, Policy.settings)

        def review_batch(self, requests):
            return [self.review(request) for request in requests]

    return Policy
