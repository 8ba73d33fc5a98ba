from mizzen.policy import allow, deny, policy


def validate(settings):
    if not isinstance(settings.get("labels"), list):
        raise ValueError("settings: labels is missing")


def review(request, settings):
    labels = request.object.get("metadata", {}).get("labels") or {} if request.object else {}
    missing = [label for label in settings["labels"] if not labels.get(label)]
    return deny("missing labels: " + ", ".join(missing)) if missing else allow()


Policy = policy(review, validate)
