"""Service accounts and their tokens, reviews, certificate requests."""

import base64

from client import equal, eventually, meta
from lifecycle import discovered, lifecycle
from registry import behaviour, unique

ACCOUNTS = "[sig-auth] ServiceAccounts should "
CERTIFICATES = "certificates.k8s.io/v1"


@behaviour(ACCOUNTS + "guarantee kube-root-ca.crt exist in any namespace")
def root_certificate(world):
    maps = world.resource("v1", "configmaps", world.namespace("svcaccounts"))
    wanted = maps.get("kube-root-ca.crt")["data"]
    assert "BEGIN CERTIFICATE" in wanted["ca.crt"]
    maps.delete("kube-root-ca.crt")
    eventually("it is made again", lambda: maps.get("kube-root-ca.crt").get("data") == wanted)
    maps.change("kube-root-ca.crt", lambda body: body.update(data={"ca.crt": ""}))
    eventually("it is set back", lambda: maps.get("kube-root-ca.crt").get("data") == wanted)


@behaviour(ACCOUNTS + "run through the lifecycle of a ServiceAccount")
def account_lifecycle(world):
    accounts = world.resource("v1", "serviceaccounts", world.namespace("svcaccounts"))
    watch = accounts.watch(labelSelector="test-serviceaccount-static=true")
    labels = {"test-serviceaccount-static": "true"}
    accounts.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("testserviceaccount", labels)})
    equal(watch.next()["type"], "ADDED")
    patched = accounts.patch("testserviceaccount", {"automountServiceAccountToken": False}, kind="application/strategic-merge-patch+json")
    equal(patched["automountServiceAccountToken"], False)
    watch.until(lambda event: event["type"] == "MODIFIED")
    found = world.resource("v1", "serviceaccounts").list(labelSelector="test-serviceaccount-static=true")["items"]
    assert "testserviceaccount" in [account["metadata"]["name"] for account in found if account.get("automountServiceAccountToken") is False]
    accounts.delete_collection()
    watch.until(lambda event: event["type"] == "DELETED")
    watch.close()


@behaviour(ACCOUNTS + "update a ServiceAccount")
def account_update(world):
    accounts = world.resource("v1", "serviceaccounts", world.namespace("svcaccounts"))
    accounts.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("e2e-sa"), "automountServiceAccountToken": False})
    updated = accounts.change("e2e-sa", lambda body: body.update(automountServiceAccountToken=True))
    equal(updated["automountServiceAccountToken"], True)


@behaviour(ACCOUNTS + "create a serviceAccountToken and ensure a successful TokenReview")
def token_review(world):
    namespace = world.namespace("svcaccounts")
    accounts = world.resource("v1", "serviceaccounts", namespace)
    accounts.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("e2e"), "automountServiceAccountToken": True})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": meta("e2e"), "spec": {"audiences": []}}
    made = world.api.call("POST", accounts.of("e2e", "token"), request)
    token = made["status"]["token"]
    assert token and made["status"]["expirationTimestamp"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": token}}
    status = world.resource("authentication.k8s.io/v1", "tokenreviews").create(review)["status"]
    equal((status["authenticated"], status.get("error", "")), (True, ""))
    equal(status["user"]["username"], f"system:serviceaccount:{namespace}:e2e")


@behaviour(ACCOUNTS + "allow opting out of API token automount")
def automount(world):
    namespace = world.namespace("svcaccounts")
    accounts, pods = world.resource("v1", "serviceaccounts", namespace), world.resource("v1", "pods", namespace)
    for name, choice in (("mount", True), ("nomount", False)):
        accounts.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(name), "automountServiceAccountToken": choice})
    for account, of_account in (("default", None), ("mount", True), ("nomount", False)):
        for of_pod in (None, True, False):
            name = f"pod-{account}-{of_pod}".lower()
            spec = {"serviceAccountName": account, "restartPolicy": "Never", "containers": [{"name": "token-test", "image": "none"}]}
            if of_pod is not None:
                spec["automountServiceAccountToken"] = of_pod
            made = pods.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta(name), "spec": spec})
            mounts = [m["mountPath"] for m in made["spec"]["containers"][0].get("volumeMounts", [])]
            wanted = of_pod if of_pod is not None else of_account is not False
            equal("/var/run/secrets/kubernetes.io/serviceaccount" in mounts, wanted)


@behaviour("[sig-auth] SubjectReview should support SubjectReview API operations")
def subject_reviews(world):
    namespace, group = world.namespace("subjectreview"), "authorization.k8s.io/v1"
    world.resource("v1", "serviceaccounts", namespace).create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("e2e")})
    user, groups = f"system:serviceaccount:{namespace}:e2e", ["system:authenticated", "system:serviceaccounts"]
    spec = {"resourceAttributes": {"verb": "list", "resource": "configmaps", "version": "v1"}, "user": user, "groups": groups}
    spec["resourceAttributes"]["namespace"] = namespace
    cluster_wide = world.resource(group, "subjectaccessreviews").create({"apiVersion": group, "kind": "SubjectAccessReview", "spec": spec})
    local = {"apiVersion": group, "kind": "LocalSubjectAccessReview", "metadata": {"namespace": namespace}, "spec": spec}
    within = world.resource(group, "localsubjectaccessreviews", namespace).create(local)
    impersonated = world.api.as_user(user)
    answer = impersonated.raw("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    equal(cluster_wide["status"]["allowed"], answer.status == 200)
    equal(within["status"]["allowed"], answer.status == 200)


def certificate_request():
    """A request for a client certificate, made with openssl."""
    import subprocess

    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/O=e2e/CN=e2e-csr"]
    pem = subprocess.run(command, capture_output=True, check=True).stdout
    spec = {"request": base64.b64encode(pem).decode(), "expirationSeconds": 3600}
    spec.update(signerName="example.com/e2e-csr", usages=["digital signature", "key encipherment", "server auth"])
    return {"apiVersion": CERTIFICATES, "kind": "CertificateSigningRequest", "metadata": meta("e2e-example-csr"), "spec": spec}


@behaviour("[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations")
def certificate_requests(world):
    plural = "certificatesigningrequests"
    discovered(world, CERTIFICATES, plural, f"{plural}/approval", f"{plural}/status")
    lifecycle(world, CERTIFICATES, plural, certificate_request())
    resource, body = world.resource(CERTIFICATES, plural), certificate_request()
    name = body["metadata"]["name"] = unique("csr")
    resource.create(body)
    world.after(lambda: resource.delete(name))
    equal(resource.get(name, "approval")["metadata"]["name"], name)
    condition = {"type": "ApprovalPatch", "status": "True", "reason": "ApprovalPatch", "message": "Set from an e2e test"}
    patch = {"metadata": {"annotations": {"patchedapproval": "true"}}, "status": {"conditions": [condition]}}
    patched = resource.patch(name, patch, "approval")
    equal(patched["metadata"]["annotations"]["patchedapproval"], "true")
    equal(patched["status"]["conditions"][0]["type"], "ApprovalPatch")
    approved = {"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}
    updated = resource.change(name, lambda found: found["status"]["conditions"].append(approved), "approval")
    equal(updated["status"]["conditions"][1]["type"], "Approved")
    equal(resource.get(name, "status")["metadata"]["name"], name)
    condition = {"type": "StatusUpdate", "status": "True", "reason": "StatusUpdate", "message": "Set from an e2e test"}
    pem = world.resource("v1", "configmaps", "default").get("kube-root-ca.crt")["data"]["ca.crt"]
    certificate = base64.b64encode(pem.encode()).decode()
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": certificate}}
    patched = resource.patch(name, patch, "status")
    equal((patched["status"]["certificate"], patched["metadata"]["annotations"]["patchedstatus"]), (certificate, "true"))
    updated = resource.change(name, lambda found: found["status"]["conditions"].append(condition), "status")
    equal(updated["status"]["conditions"][2]["type"], "StatusUpdate")
