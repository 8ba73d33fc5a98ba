// What programs do with npm's `@kubernetes/client-node`: typed, dynamic, informer, patch and apply. Argument: kubeconfig.

import assert from "node:assert/strict";
import * as k8s from "@kubernetes/client-node";

const config = new k8s.KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = "default";

const until = async (what, look) => {
  const end = Date.now() + 120_000;
  while (Date.now() < end) {
    const found = await look();
    if (found) return found;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  throw new Error(`not within two minutes: ${what}`);
};

// typed
const body = { metadata: { name: "typed", labels: { made: "by-node" } }, data: { key: "value" } };
const made = await core.createNamespacedConfigMap({ namespace, body });
assert.ok(made.metadata.creationTimestamp instanceof Date);
made.data.key = "replaced";
const replaced = await core.replaceNamespacedConfigMap({ name: "typed", namespace, body: made });
assert.equal(replaced.data.key, "replaced");
await assert.rejects(
  core.replaceNamespacedConfigMap({ name: "typed", namespace, body: made }),
  (error) => error.code === 409,
  "an old resourceVersion conflicts",
);

// patches of each kind
const patched = async (kind, patch, more = {}) => {
  const options = k8s.setHeaderOptions("Content-Type", kind);
  return core.patchNamespacedConfigMap({ name: "typed", namespace, body: patch, ...more }, options);
};
const operation = [{ op: "add", path: "/data/json", value: "1" }];
assert.equal((await patched(k8s.PatchStrategy.JsonPatch, operation)).data.json, "1");
assert.equal((await patched(k8s.PatchStrategy.MergePatch, { data: { merge: "2" } })).data.merge, "2");
assert.equal((await patched(k8s.PatchStrategy.StrategicMergePatch, { data: { strategic: "3" } })).data.strategic, "3");
const applied = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "typed" }, data: { applied: "4" } };
const owned = await patched(k8s.PatchStrategy.ServerSideApply, applied, { fieldManager: "node", force: true });
assert.ok(owned.metadata.managedFields.some((entry) => entry.manager === "node" && entry.operation === "Apply"));
assert.deepEqual(owned.data, { key: "replaced", json: "1", merge: "2", strategic: "3", applied: "4" });

// dynamic
const dynamic = k8s.KubernetesObjectApi.makeApiClient(config);
const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "dynamic", namespace }, stringData: { a: "b" } };
await dynamic.create(secret);
const read = await dynamic.read({ apiVersion: "v1", kind: "Secret", metadata: { name: "dynamic", namespace } });
assert.equal(read.data.a, Buffer.from("b").toString("base64"));
const merged = await dynamic.patch(
  { apiVersion: "v1", kind: "Secret", metadata: { name: "dynamic", namespace, labels: { patched: "yes" } } },
  undefined,
  undefined,
  "node",
  undefined,
  k8s.PatchStrategy.MergePatch,
);
assert.equal(merged.metadata.labels.patched, "yes");
assert.equal((await dynamic.list("v1", "Secret", namespace)).items.length, 1);

// an informer sees what was there, and each change
const seen = [];
const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: "made=by-node" });
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, "made=by-node");
for (const kind of ["add", "update", "delete"]) {
  informer.on(kind, (object) => seen.push(`${kind} ${object.metadata.name}`));
}
informer.on("error", (error) => seen.push(`error ${error}`));
await informer.start();
await until("the informer lists", () => seen.includes("add typed"));
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "later", labels: { made: "by-node" } } } });
await until("the informer sees an addition", () => seen.includes("add later"));
await patched(k8s.PatchStrategy.MergePatch, { data: { merge: "5" } });
await until("the informer sees a change", () => seen.includes("update typed"));
await core.deleteNamespacedConfigMap({ name: "typed", namespace });
await until("the informer sees a deletion", () => seen.includes("delete typed"));
assert.equal(informer.get("later", namespace).metadata.name, "later");
assert.ok(!seen.some((event) => event.startsWith("error")), seen.join(", "));
await informer.stop();

console.log("all right");
process.exit(0);
