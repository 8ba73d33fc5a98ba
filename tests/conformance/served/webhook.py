"""The webhooks of the behaviours about admission and conversion, by TLS with /certs: webhook.py PORT"""

import base64
import http.server
import json
import ssl
import sys
import time
from urllib.parse import urlsplit

UNWANTED = "webhook-disallow"


def denied(message):
    return {"allowed": False, "status": {"message": message}}


def patched(*operations):
    patch = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


def pods(request):
    pod = request["object"]
    label = pod["metadata"].get("labels", {}).get("webhook-e2e-test")
    if label == "wait-forever":
        time.sleep(3600)
    said = ["the pod contains unwanted label"] if label == UNWANTED else []
    if any(UNWANTED in container["name"] for container in pod["spec"]["containers"]):
        said.append("the pod contains unwanted container name")
    return denied("; ".join(said)) if said else {"allowed": True}


def mutating_pods(request):
    assert "patch" not in request
    container = {"image": "webhook-added-image", "name": "webhook-added-init-container", "resources": {}}
    wanted = request["object"]["metadata"].get("name") == "webhook-to-be-mutated" and not request["object"]["spec"].get("initContainers")
    return patched({"op": "add", "path": "/spec/initContainers", "value": [container]}) if wanted else {"allowed": True}


def attach(request):
    options = request["object"]
    assert (request["kind"]["kind"], request["subResource"], request["operation"]) == ("PodAttachOptions", "attach", "CONNECT"), request
    wanted = options["kind"] == "PodAttachOptions" and options.get("stdin") and options.get("container") == "container1"
    return denied("attaching to pod 'to-be-attached-pod' is not allowed") if wanted else {"allowed": True}


def data_of(request):
    return (request.get("object") or {}).get("data") or {}


def configmaps(request):
    return denied("the configmap contains unwanted key and value") if data_of(request).get("webhook-e2e-test") == UNWANTED else {"allowed": True}


def mutating_data(request):
    """The first stage adds its mark where mutation starts, the second where the first has been."""
    data, marks = data_of(request), []
    if data.get("mutation-start") == "yes":
        marks.append("mutation-stage-1")
    if data.get("mutation-stage-1") == "yes":
        marks.append("mutation-stage-2")
    return patched(*({"op": "add", "path": f"/data/{mark}", "value": "yes"} for mark in marks)) if marks else {"allowed": True}


def custom_resource(request):
    if request["operation"] == "DELETE":
        old = (request["oldObject"] or {}).get("data") or {}
        if old.get("webhook-e2e-test") == "webhook-nondeletable":
            return denied("the custom resource cannot be deleted because it contains unwanted key and value")
        return {"allowed": True}
    return denied("the custom resource contains unwanted data") if data_of(request).get("webhook-e2e-test") == UNWANTED else {"allowed": True}


def crd(request):
    labels = request["object"]["metadata"].get("labels", {})
    return denied("the crd contains unwanted label") if labels.get("webhook-e2e-test") == UNWANTED else {"allowed": True}


def add_label(request):
    if request["object"]["metadata"].get("labels"):
        return patched({"op": "add", "path": "/metadata/labels/added-label", "value": "yes"})
    return patched({"op": "add", "path": "/metadata/labels", "value": {"added-label": "yes"}})


def slowly(_):
    time.sleep(5)
    return {"allowed": True}


ADMISSION = {
    "/pods": pods,
    "/mutating-pods": mutating_pods,
    "/pods/attach": attach,
    "/configmaps": configmaps,
    "/mutating-configmaps": mutating_data,
    "/custom-resource": custom_resource,
    "/mutating-custom-resource": mutating_data,
    "/crd": crd,
    "/add-label": add_label,
    "/always-allow-delay-5s": slowly,
    "/always-deny": lambda _: denied("this webhook denies all requests"),
}


def converted(document, version):
    """v1 has `hostPort`, v2 `host` and `port` of the same."""
    document = {**document, "apiVersion": version}
    if version.endswith("/v2") and "hostPort" in document:
        document["host"], document["port"] = document.pop("hostPort").split(":")
    elif version.endswith("/v1") and "host" in document:
        document["hostPort"] = f"{document.pop('host')}:{document.pop('port')}"
    return document


class Webhook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        path, review = urlsplit(self.path).path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        if path == "/crdconvert":
            documents = [converted(document, request["desiredAPIVersion"]) for document in request["objects"]]
            answer = {"uid": request["uid"], "convertedObjects": documents, "result": {"status": "Success"}}
        elif path in ADMISSION:
            answer = {"uid": request["uid"], **ADMISSION[path](request)}
        else:
            return self.send_error(404)
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/certs/tls.crt", "/certs/tls.key")
    server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Webhook)
    # Each connection's greeting on its own thread: probes say nothing.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
