"""An API server of one kind, wardle.example.com/v1alpha1 Flunder, that leaves the cluster to say who asks and what they may: wardle.py PORT

It reads the roots of front proxies from `extension-apiserver-authentication`, believes only certificates below them about users,
and sends a SubjectAccessReview for each request, all with the token of its own service account.
"""

import datetime
import http.server
import json
import os
import pathlib
import ssl
import sys
import threading
import urllib.request
import uuid
from urllib.parse import urlsplit

GROUP = os.environ.get("GROUP", "wardle.example.com")
VERSION = f"{GROUP}/v1alpha1"
ROOT = f"/apis/{VERSION}"
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
OBJECTS, LOCK, REVISION, ALLOWED = {}, threading.Lock(), [1], []


def ask(method, path, body=None):
    """The cluster's answer, as an API server within it asks."""
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": "application/json"}
    request = urllib.request.Request("https://kubernetes.default.svc" + path, json.dumps(body).encode() if body else None, headers, method=method)
    context = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.load(answer)


def failure(code, reason, message):
    return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code}


def documents():
    version = {"groupVersion": VERSION, "version": "v1alpha1"}
    group = {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version}
    flunders = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": VERBS}
    return {
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]},
        f"/apis/{GROUP}": group,
        ROOT: {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [flunders]},
    }


def store(method, namespace, name, body):
    """Create, list, get, update and delete."""
    with LOCK:
        found = {key: one for key, one in OBJECTS.items() if namespace in ("", key[0])}
        if method == "GET" and not name:
            return 200, {"kind": "FlunderList", "apiVersion": VERSION, "metadata": {"resourceVersion": str(REVISION[0])}, "items": list(found.values())}
        if method == "DELETE" and not name:
            for key in found:
                del OBJECTS[key]
            return 200, {"kind": "FlunderList", "apiVersion": VERSION, "metadata": {}, "items": list(found.values())}
        key = (namespace, name or body["metadata"]["name"])
        if (method == "POST") == (key in OBJECTS):
            return failure(409, "AlreadyExists", f"flunders {key[1]} already exists") if method == "POST" else failure(404, "NotFound", f'flunders.{GROUP} "{name}" not found')
        if method == "DELETE":
            return 200, OBJECTS.pop(key)
        if method in ("POST", "PUT"):
            REVISION[0] += 1
            known = OBJECTS.get(key, {}).get("metadata", {})
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            kept = {"namespace": namespace, "uid": known.get("uid", str(uuid.uuid4())), "creationTimestamp": known.get("creationTimestamp", now)}
            metadata = {**body["metadata"], **kept, "resourceVersion": str(REVISION[0])}
            OBJECTS[key] = {**body, "apiVersion": VERSION, "kind": "Flunder", "metadata": metadata}
        return 201 if method == "POST" else 200, OBJECTS[key]


class Wardle(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def may(self, verb, namespace, name):
        """None, or why not."""
        certificate = self.connection.getpeercert() or {}
        subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
        if not certificate or (ALLOWED and subject.get("commonName") not in ALLOWED):
            return f"no front proxy: {subject}"
        user, groups = self.headers.get("X-Remote-User"), self.headers.get_all("X-Remote-Group") or []
        attributes = {"verb": verb, "namespace": namespace, "name": name, "group": GROUP, "version": "v1alpha1", "resource": "flunders"}
        path = {"path": urlsplit(self.path).path, "verb": "get"}
        spec = {"user": user, "groups": groups, **({"resourceAttributes": attributes} if "/flunders" in self.path else {"nonResourceAttributes": path})}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]
        return None if status["allowed"] else f"{user} may not {verb} flunders"

    def answer(self):
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = path.removeprefix(ROOT).strip("/").split("/")
        namespace = parts.pop(1) if parts[0] == "namespaces" else ""
        parts = parts[1:] if namespace else parts
        name = parts[1] if len(parts) > 1 else ""
        verb = {"GET": "get" if name else "list", "POST": "create", "PUT": "update", "DELETE": "delete" if name else "deletecollection"}.get(self.command, "patch")
        if path in ("/readyz", "/livez", "/healthz"):
            return 200, "ok"
        if refusal := self.may(verb, namespace, name):
            return failure(403, "Forbidden", refusal)
        if path in documents():
            return 200, documents()[path]
        if not path.startswith(ROOT) or parts[0] != "flunders":
            return failure(404, "NotFound", "the server could not find the requested resource")
        return store(self.command, namespace, name, json.loads(body) if body and self.command != "DELETE" else None)

    def say(self):
        code, document = self.answer()
        body = json.dumps(document).encode() if isinstance(document, dict) else document.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if isinstance(document, dict) else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = say


def main():
    known = ask("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")["data"]
    ALLOWED[:] = json.loads(known.get("requestheader-allowed-names", "[]"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/certs/tls.crt", "/certs/tls.key")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=known["requestheader-client-ca-file"])
    server = http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Wardle)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
