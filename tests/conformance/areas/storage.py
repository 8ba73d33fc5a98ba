"""Volumes, classes and drivers as objects; immutable maps."""

from client import MERGE, STRATEGIC, equal, eventually, meta, refused
from lifecycle import lifecycle
from registry import behaviour, unique

STORAGE = "storage.k8s.io/v1"


def immutable(world, kind, plural, fields):
    """Data may change until the object is marked; then only its metadata may."""
    resource = world.resource("v1", plural, world.namespace("immutable"))
    resource.create({"apiVersion": "v1", "kind": kind, "metadata": meta("immutable"), **fields("value-1")})
    resource.change("immutable", lambda body: body.update(fields("value-2")))
    resource.change("immutable", lambda body: body.update(immutable=True))
    said = "field is immutable when `immutable` is set"
    refused(422, lambda: resource.change("immutable", lambda body: body.update(fields("value-3"))), said)
    refused(422, lambda: resource.change("immutable", lambda body: body.update(immutable=False)), said)
    refused(422, lambda: resource.change("immutable", lambda body: body.pop("immutable")), said)
    labelled = resource.change("immutable", lambda body: body["metadata"].update(labels={"label1": "value1"}))
    equal(labelled["metadata"]["labels"], {"label1": "value1"})
    resource.delete("immutable")
    assert not resource.exists("immutable")


@behaviour("[sig-storage] ConfigMap should be immutable if `immutable` field is set")
def immutable_maps(world):
    immutable(world, "ConfigMap", "configmaps", lambda value: {"data": {"data-1": value}})


@behaviour("[sig-storage] Secrets should be immutable if `immutable` field is set")
def immutable_secrets(world):
    immutable(world, "Secret", "secrets", lambda value: {"stringData": {"data-1": value}})


def life(world, group_version, plural, make, update=None):
    """Created, read, patched, deleted; a replacement updated and deleted by collection."""
    resource, label = world.resource(group_version, plural), unique("life")
    first, second = make(), make()
    for body in (first, second):
        body["metadata"].setdefault("labels", {})["e2e-test"] = label
        world.after(lambda name=body["metadata"]["name"]: resource.delete(name))
    name = first["metadata"]["name"]
    resource.create(first)
    equal(resource.get(name)["metadata"]["name"], name)
    patched = resource.patch(name, {"metadata": {"labels": {name: "patched"}}}, kind=STRATEGIC)
    equal(patched["metadata"]["labels"][name], "patched")
    equal(resource.names(labelSelector=f"{name}=patched"), [name])
    resource.delete(name)
    eventually("it is gone", lambda: not resource.exists(name))
    resource.create(second)
    name = second["metadata"]["name"]

    def change(body):
        body["metadata"]["labels"][name] = "updated"
        if update:
            update(body)

    equal(resource.change(name, change)["metadata"]["labels"][name], "updated")
    resource.delete_collection(labelSelector=f"{name}=updated")
    eventually("it is gone", lambda: not resource.exists(name))


def named(kind, stem, group_version=STORAGE, **fields):
    return {"apiVersion": group_version, "kind": kind, "metadata": {"name": unique(stem)}, **fields}


@behaviour("[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a StorageClass")
def storage_classes(world):
    life(world, STORAGE, "storageclasses", lambda: named("StorageClass", "sc", provisioner="e2e-fake-provisioner"))


@behaviour("[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a VolumeAttributesClass")
def attributes_classes(world):
    make = lambda: named("VolumeAttributesClass", "vac", driverName="e2e-fake-csi-driver", parameters={"foo": "bar"})  # noqa: E731
    life(world, STORAGE, "volumeattributesclasses", make)


@behaviour("[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode")
def csi_nodes(world):
    # As Go writes one that names no driver.
    life(world, STORAGE, "csinodes", lambda: named("CSINode", "csinode", spec={"drivers": None}))


@behaviour("[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver")
def csi_drivers(world):
    spec = {"volumeLifecycleModes": ["Ephemeral"], "fsGroupPolicy": "None", "attachRequired": False, "podInfoOnMount": True}
    life(world, STORAGE, "csidrivers", lambda: named("CSIDriver", "inline-driver", spec=spec))


@behaviour("[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment")
def attachments(world):
    life(world, STORAGE, "volumeattachments", attachment)


def attachment():
    spec = {"attacher": "e2e-fake-attacher", "nodeName": "e2e-no-such-node", "source": {"persistentVolumeName": "no-such-pv"}}
    body = named("VolumeAttachment", "va", spec=spec, status={"attached": False})
    # Upstream sends a uid of its own, which the server does not take.
    body["metadata"]["uid"] = body["metadata"]["name"]
    return body


@behaviour("[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment status")
def attachment_status(world):
    resource, body = world.resource(STORAGE, "volumeattachments"), attachment()
    name = body["metadata"]["name"]
    world.after(lambda: resource.delete(name))
    assert resource.create(body)["metadata"]["uid"] != name
    resource.patch(name, {"metadata": {"labels": {"va": "patched"}}}, kind=STRATEGIC)
    equal(resource.get(name, "status")["status"]["attached"], False)
    equal(resource.patch(name, {"status": {"attached": True}}, "status")["status"]["attached"], True)
    updated = resource.change(name, lambda found: found["status"].update(attached=False), "status")
    equal(updated["status"]["attached"], False)
    resource.delete(name)
    eventually("it is gone", lambda: not resource.exists(name))


@behaviour("[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations")
def capacities(world):
    body = {"apiVersion": STORAGE, "kind": "CSIStorageCapacity", "metadata": {"name": "c"}, "storageClassName": "e2e", "capacity": "1Gi"}
    lifecycle(world, STORAGE, "csistoragecapacities", body, world.namespace("capacity"), patch={"capacity": "2Gi"})


@behaviour("[sig-storage] CSIInlineVolumes should support CSIVolumeSource in Pod API")
def inline_volumes(world):
    pods, label = world.resource("v1", "pods", world.namespace("inline")), {"inline": unique("inline")}
    volume = {"name": "volume", "csi": {"driver": "inline.example.com", "volumeAttributes": {"foo": "bar"}}}
    container = {"name": "c", "image": "registry.k8s.io/pause:3.10", "volumeMounts": [{"name": "volume", "mountPath": "/mnt/test"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta("inline", label), "spec": {"containers": [container], "volumes": [volume]}}
    pods.create(body)
    equal([v for v in pods.get("inline")["spec"]["volumes"] if v["name"] == "volume"][0]["csi"]["driver"], "inline.example.com")
    equal(pods.names(labelSelector=f"inline={label['inline']}"), ["inline"])
    patched = pods.patch("inline", {"metadata": {"labels": {"patched": "yes"}}}, kind=STRATEGIC)
    equal(patched["metadata"]["labels"]["patched"], "yes")
    pods.delete("inline", {"gracePeriodSeconds": 0})
    eventually("it is gone", lambda: not pods.exists("inline"))


def volume(label):
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": label, "persistentVolumeReclaimPolicy": "Retain"}
    spec["csi"] = {"driver": "e2e-driver-that-does-not-exist", "volumeHandle": "e2e-conformance"}
    affinity = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["no-such-node"]}
    spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}}
    return named("PersistentVolume", "pv", "v1", spec=spec)


def volume_claim(label):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": label + "-other"}
    return named("PersistentVolumeClaim", "pvc", "v1", spec=spec)


@behaviour("[sig-storage] PersistentVolumes CSI Conformance should run through the lifecycle of a PV and a PVC")
def volume_lifecycle(world):
    label = unique("volume")
    life(world, "v1", "persistentvolumes", lambda: volume(label))
    namespace = world.namespace("pv")
    claims = world.resource("v1", "persistentvolumeclaims", namespace)
    first, second = volume_claim(label), volume_claim(label)
    name = first["metadata"]["name"]
    uid = claims.create(first)["metadata"]["uid"]
    equal(claims.patch(name, {"metadata": {"labels": {name: "patched"}}}, kind=STRATEGIC)["metadata"]["labels"][name], "patched")
    equal(claims.get(name)["metadata"]["uid"], uid)
    claims.delete(name)
    eventually("the claim is gone", lambda: not claims.exists(name))
    name = second["metadata"]["name"]
    claims.create(second)
    claims.change(name, lambda body: body["metadata"].update(labels={name: "updated"}))
    claims.delete_collection(labelSelector=f"{name}=updated")
    eventually("the claim is gone", lambda: not claims.exists(name))


@behaviour("[sig-storage] PersistentVolumes CSI Conformance should apply changes to a pv/pvc status")
def volume_status(world):
    label = unique("volume")
    volumes, claims = world.resource("v1", "persistentvolumes"), world.resource("v1", "persistentvolumeclaims", world.namespace("pv"))
    name = volumes.create(volume(label))["metadata"]["name"]
    world.after(lambda: volumes.delete(name))
    claim = claims.create(volume_claim(label))["metadata"]["name"]
    equal(claims.get(claim, "status")["status"]["phase"], "Pending")
    assert volumes.get(name, "status")["status"]["phase"] in ("Pending", "Available")
    conditions = {"status": {"conditions": [{"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "Set"}]}}
    patched = claims.patch(claim, conditions, "status", kind=MERGE)
    equal(patched["status"]["conditions"][0]["type"], "StatusPatched")
    patched = volumes.patch(name, {"status": {"message": "StatusPatched", "reason": "E2E patchStatus"}}, "status")
    equal((patched["status"]["message"], patched["status"]["reason"]), ("StatusPatched", "E2E patchStatus"))
    condition = {"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set"}
    updated = claims.change(claim, lambda body: body["status"]["conditions"].append(condition), "status")
    equal(updated["status"]["conditions"][-1]["type"], "StatusUpdated")
    said = {"reason": "E2E updateStatus", "message": "StatusUpdated"}
    updated = volumes.change(name, lambda body: body["status"].update(said), "status")
    equal((updated["status"]["message"], updated["status"]["reason"]), ("StatusUpdated", "E2E updateStatus"))
