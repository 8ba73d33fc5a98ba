"""Service accounts' tokens as pods hold them."""

import base64
import json

from client import equal, meta
from pods import Pods
from registry import behaviour, unique

TITLE = "[sig-auth] ServiceAccounts "
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def account(world, name):
    namespace = world.namespace("svcaccounts")
    accounts = world.resource("v1", "serviceaccounts", namespace)
    accounts.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name)})
    return Pods(world, namespace)


@behaviour(TITLE + "should mount an API token into pods")
def mounted(world):
    pods = account(world, "mount-test")
    pods.create("pod-service-account", pods.container(), serviceAccountName="mount-test")
    pods.ready("pod-service-account")
    token, root, namespace = (pods.exec("pod-service-account", f"cat {MOUNT}/{name}") for name in ("token", "ca.crt", "namespace"))
    equal(namespace, pods.namespace)
    equal(root, world.resource("v1", "configmaps", pods.namespace).get("kube-root-ca.crt")["data"]["ca.crt"])
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": token}}
    status = world.resource("authentication.k8s.io/v1", "tokenreviews").create(review)["status"]
    assert status["authenticated"] and not status.get("error"), status
    equal(status["user"]["username"], f"system:serviceaccount:{pods.namespace}:mount-test")
    groups = {"system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{pods.namespace}"}
    assert groups <= set(status["user"]["groups"]), status
    pod = pods.resource.get("pod-service-account")
    extra = status["user"]["extra"]
    equal(extra["authentication.kubernetes.io/pod-name"], ["pod-service-account"])
    equal(extra["authentication.kubernetes.io/pod-uid"], [pod["metadata"]["uid"]])
    equal(extra["authentication.kubernetes.io/node-name"], [pod["spec"]["nodeName"]])
    assert extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI="), extra


@behaviour(TITLE + "should mount projected service account token")
def projected(world):
    pods = account(world, "projected")
    source = {"serviceAccountToken": {"audience": "oidc-discovery-test", "path": "token", "expirationSeconds": 3600}}
    volume = {"name": "sa", "projected": {"defaultMode": 0o440, "sources": [source]}}
    mount = {"name": "sa", "mountPath": "/test-volume"}
    container = pods.container("cat /test-volume/token; echo; stat -Lc %a:%g /test-volume/token", volumeMounts=[mount])
    said = pods.says("test-pod", container, volumes=[volume], serviceAccountName="projected", securityContext={"fsGroup": 1234})
    token, mode = said.split()
    equal(mode, "640:1234")  # a token is its own user's alone, and the group reads it
    found = claims(token)
    equal((found["aud"], found["sub"]), (["oidc-discovery-test"], f"system:serviceaccount:{pods.namespace}:projected"))
    equal(found["kubernetes.io"]["pod"]["name"], "test-pod")
    equal(found["exp"] - found["iat"], 3600)


@behaviour(TITLE + "ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer")
def discovery(world):
    """In the pod: the documents are fetched as its account may; outside: the key that signed the token is among them."""
    pods = account(world, "issuer")
    bindings = world.resource("rbac.authorization.k8s.io/v1", "clusterrolebindings")
    name = unique("service-account-issuer-discovery")
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"}
    subject = {"kind": "ServiceAccount", "name": "issuer", "namespace": pods.namespace}
    bindings.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta(name), "roleRef": role, "subjects": [subject]})
    world.after(lambda: bindings.delete(name))
    source = {"serviceAccountToken": {"audience": "oidc-discovery-test", "path": "token"}}
    volume = {"name": "sa", "projected": {"sources": [source]}}
    pods.create("oidc", pods.container(volumeMounts=[{"name": "sa", "mountPath": "/oidc"}]), volumes=[volume], serviceAccountName="issuer")
    pods.ready("oidc")
    token = pods.exec("oidc", "cat /oidc/token")
    api = pods.exec("oidc", f"cat {MOUNT}/token")
    nets = pods.exec("oidc", "echo $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT; nslookup kubernetes.default.svc.cluster.local")
    assert nets.split()[0] in nets.split("\n", 1)[1], nets
    found = claims(token)
    document = world.api.call("GET", "/.well-known/openid-configuration")
    equal((document["issuer"], claims(api)["iss"]), (found["iss"], found["iss"]))
    assert document["issuer"].startswith("https://") and document["jwks_uri"].endswith("/openid/v1/jwks"), document
    for field in ("response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported"):
        assert document[field], document
    part = token.split(".")[0]
    header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    keys = {key["kid"]: key for key in world.api.call("GET", "/openid/v1/jwks")["keys"]}
    equal((keys[header["kid"]]["use"], keys[header["kid"]]["alg"]), ("sig", header["alg"]))
    assert header["alg"] in document["id_token_signing_alg_values_supported"], document
    allowed = world.api.as_user(f"system:serviceaccount:{pods.namespace}:issuer", ["system:serviceaccounts", "system:authenticated"])
    equal(allowed.call("GET", "/.well-known/openid-configuration")["issuer"], found["iss"])
