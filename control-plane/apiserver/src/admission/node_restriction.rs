//! NodeRestriction: a node writes itself, its lease and the state of the pods bound to it, and gives itself no label or
//! pod by which it would draw what it should not see.

use async_trait::async_trait;
use mizzen_api::node_labels::is_own_label;
use mizzen_api::{GroupResource, Status};
use serde_json::{Map, Value};

use super::{Attributes, Operation, Plugin};
use crate::auth::node::node_of;
use crate::auth::tokens::ISSUER;
use crate::auth::{Action, Decision};

pub(super) struct NodeRestriction;

const LEASES: &str = "kube-node-lease";
const MIRROR: &str = "kubernetes.io/config.mirror";
#[async_trait]
impl Plugin for NodeRestriction {
    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(node) = node_of(attributes.identity) else { return Ok(()) };
        if node.is_empty() {
            let user = &attributes.identity.username;
            return Err(attributes.forbid(&format!("could not determine node from user {user:?}")));
        }
        let restricted = Restricted { node, attributes };
        match (attributes.group(), attributes.resource(), attributes.subresource()) {
            ("", "pods", "") => restricted.pod(object),
            ("", "pods", "status") => restricted.pod_status(object),
            ("", "pods", "eviction") => restricted.bound_here("can only evict pods"),
            ("", "pods", other) => {
                restricted.forbid(&format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => restricted.node(object),
            ("", "persistentvolumeclaims", "status") => restricted.claim_status(object),
            ("", "persistentvolumeclaims", _) => restricted.forbid("may only update PVC status"),
            ("", "serviceaccounts", "token") => restricted.token(object),
            ("coordination.k8s.io", "leases", _) if attributes.namespace() != LEASES => {
                restricted.forbid(&format!("can only access leases in the {LEASES:?} system namespace"))
            }
            ("coordination.k8s.io", "leases", _) => restricted.named("node lease"),
            ("storage.k8s.io", "csinodes", _) => restricted.named("CSINode"),
            ("resource.k8s.io", "resourceslices", "") => restricted.slice(object),
            _ => Ok(()),
        }
    }
}

/// One write of one node.
struct Restricted<'a> {
    node: &'a str,
    attributes: &'a Attributes<'a>,
}

fn text<'a>(value: Option<&'a Value>, pointer: &str) -> &'a str {
    value.and_then(|value| value.pointer(pointer)).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: Option<&'a Value>, pointer: &str) -> &'a [Value] {
    value.and_then(|value| value.pointer(pointer)).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Restricted<'_> {
    fn forbid(&self, why: &str) -> Result<(), Status> {
        Err(self.attributes.forbid(why))
    }

    fn allow(&self, holds: bool, otherwise: &str) -> Result<(), Status> {
        if holds { Ok(()) } else { self.forbid(otherwise) }
    }

    fn named(&self, kind: &str) -> Result<(), Status> {
        let own = self.attributes.name() == self.node;
        self.allow(own, &format!("can only access {kind} with the same name as the requesting node"))
    }

    fn stored_pod(&self, name: &str) -> Result<Value, Status> {
        let namespace = self.attributes.namespace();
        let pod = self.attributes.find("", "pods", namespace, name)?;
        pod.ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), name))
    }

    fn bound_here(&self, what: &str) -> Result<(), Status> {
        let pod = match self.attributes.old {
            Some(_) => None,
            None => Some(self.stored_pod(self.attributes.name())?),
        };
        let bound = text(self.attributes.old.or(pod.as_ref()), "/spec/nodeName") == self.node;
        self.allow(bound, &format!("node {:?} {what} with spec.nodeName set to itself", self.node))
    }

    fn pod(&self, object: Option<&Value>) -> Result<(), Status> {
        let node = self.node;
        match self.attributes.operation {
            Operation::Create => self.mirror_pod(object),
            Operation::Delete => self.bound_here("can only delete pods"),
            _ => self.forbid(&format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods")),
        }
    }

    /// A pod that the node runs anyway, shown in the API. It names nothing that the node could then read.
    fn mirror_pod(&self, pod: Option<&Value>) -> Result<(), Status> {
        let node = self.node;
        let annotated = pod.and_then(|pod| pod.pointer("/metadata/annotations")?.get(MIRROR)).is_some();
        self.allow(annotated, &format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"))?;
        let bound = text(pod, "/spec/nodeName") == node;
        self.allow(bound, &format!("node {node:?} can only create pods with spec.nodeName set to itself"))?;
        let owners = pod.and_then(|pod| pod.pointer("/metadata/ownerReferences")).and_then(Value::as_array);
        let [owner] = owners.map(Vec::as_slice).unwrap_or_default() else {
            return self.forbid(&format!("node {node:?} can only create pods with a single owner reference set to itself"));
        };
        let field = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let own = (field("apiVersion"), field("kind"), field("name")) == ("v1", "Node", node);
        self.allow(own, &format!("node {node:?} can only create pods with an owner reference set to itself"))?;
        let flag = |name: &str| owner.get(name).and_then(Value::as_bool).unwrap_or(false);
        self.allow(
            flag("controller"),
            &format!("node {node:?} can only create pods with a controller owner reference set to itself"),
        )?;
        let blocks = flag("blockOwnerDeletion");
        self.allow(!blocks, &format!("node {node:?} must not set blockOwnerDeletion on an owner reference"))?;
        let stored = self.attributes.lookup("nodes", "", node);
        let uid = stored.map(|node| node.head().uid.clone());
        let Some(uid) = uid else { return Err(Status::not_found(&GroupResource::new("", "nodes"), node)) };
        let claimed = field("uid");
        self.allow(uid == claimed, &format!("node {node} UID mismatch: expected {claimed} got {uid}"))?;
        let mut plain = pod.cloned().unwrap_or_default();
        if let Some(metadata) = plain.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("annotations");
        }
        match crate::auth::node::refers_to(&plain) {
            None => Ok(()),
            Some(what) => self.forbid(&format!("node {node:?} can not create pods that reference {what}")),
        }
    }

    fn pod_status(&self, object: Option<&Value>) -> Result<(), Status> {
        let node = self.node;
        self.bound_here("can only update pod status for pods")?;
        let same = |field: &str| part(object, field) == part(self.attributes.old, field);
        self.allow(same("/metadata/labels"), &format!("node {node:?} cannot update labels through pod status"))?;
        let claims = same("/status/resourceClaimStatuses");
        self.allow(claims, &format!("node {node:?} cannot update resource claim statues"))
    }

    fn node(&self, object: Option<&Value>) -> Result<(), Status> {
        let (node, name) = (self.node, self.attributes.name());
        self.allow(name == node, &format!("node {node:?} is not allowed to modify node {name:?}"))?;
        let old = self.attributes.old;
        let changed = forbidden_labels(labels(object), labels(old));
        match self.attributes.operation {
            Operation::Create if !changed.is_empty() => {
                self.forbid(&format!("node {node:?} is not allowed to set the following labels: {}", changed.join(", ")))
            }
            Operation::Update => {
                let taints = part(object, "/spec/taints") == part(old, "/spec/taints");
                self.allow(taints, &format!("node {node:?} is not allowed to modify taints"))?;
                // An owner that does not exist would have the node collected, to come back as it likes.
                let owners = part(object, "/metadata/ownerReferences") == part(old, "/metadata/ownerReferences");
                self.allow(owners, &format!("node {node:?} is not allowed to modify ownerReferences"))?;
                self.allow(changed.is_empty(), &format!("is not allowed to modify labels: {}", changed.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn claim_status(&self, object: Option<&Value>) -> Result<(), Status> {
        let plain = |claim: Option<&Value>| {
            let mut claim = claim.cloned().unwrap_or_default();
            if let Some(metadata) = claim.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|field, _| !matches!(field.as_str(), "resourceVersion" | "managedFields"));
            }
            if let Some(status) = claim.get_mut("status").and_then(Value::as_object_mut) {
                let own = ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"];
                status.retain(|field, _| !own.contains(&field.as_str()));
            }
            claim
        };
        let node = self.node;
        self.allow(
            plain(object) == plain(self.attributes.old),
            &format!("node {node:?} is not allowed to update fields other than status.capacity and status.conditions"),
        )
    }

    /// A token is for one of its own pods, as long as that runs.
    fn token(&self, request: Option<&Value>) -> Result<(), Status> {
        let bound = |field: &str| text(request, &format!("/spec/boundObjectRef/{field}"));
        let (name, uid) = (bound("name"), bound("uid"));
        let to_pod = bound("apiVersion") == "v1" && bound("kind") == "Pod" && !name.is_empty();
        self.allow(to_pod, "node requested token not bound to a pod")?;
        self.allow(!uid.is_empty(), "node requested token with a pod binding without a uid")?;
        let pod = self.stored_pod(name)?;
        let of_pod = |pointer: &str| text(Some(&pod), pointer);
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted \
             and then recreated"
        );
        self.allow(of_pod("/metadata/uid") == uid, &why)?;
        let here = of_pod("/spec/nodeName") == self.node;
        self.allow(here, "node requested token bound to a pod scheduled on a different node")?;
        self.audience(request, &pod)
    }

    /// A token is for whom the pod's volumes want one, or for the API itself (`ServiceAccountNodeAudienceRestriction`).
    fn audience(&self, request: Option<&Value>, pod: &Value) -> Result<(), Status> {
        let audience = match items(request, "/spec/audiences") {
            [] => return Ok(()),
            [one] => one.as_str().unwrap_or_default(),
            _ => return self.forbid("node may only request 0 or 1 audiences"),
        };
        if audience.is_empty() || audience == ISSUER || self.wants_audience(pod, audience)? {
            return Ok(());
        }
        let (attributes, user) = (self.attributes, self.attributes.identity);
        let action = Action::Resource {
            verb: "request-serviceaccounts-token-audience",
            group: "",
            resource: audience,
            subresource: "",
            namespace: attributes.namespace(),
            name: attributes.name(),
        };
        let granted = matches!(attributes.authorizer.authorize(user, &action), Decision::Allow { .. });
        let why = format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            user.username
        );
        self.allow(granted, &why)
    }

    /// Whether a projected token, or the driver of a volume, is for the audience.
    fn wants_audience(&self, pod: &Value, audience: &str) -> Result<bool, Status> {
        for volume in items(Some(pod), "/spec/volumes") {
            let is_projected = |source: &Value| {
                source.get("serviceAccountToken").is_some() && text(Some(source), "/serviceAccountToken/audience") == audience
            };
            if items(Some(volume), "/projected/sources").iter().any(is_projected) {
                return Ok(true);
            }
            if let Some(driver) = self.driver(pod, volume)?
                && let Some(driver) = self.attributes.find("storage.k8s.io", "csidrivers", "", &driver)?
                && items(Some(&driver), "/spec/tokenRequests").iter().any(|asked| text(Some(asked), "/audience") == audience)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The driver of a volume, which may be behind a claim.
    fn driver(&self, pod: &Value, volume: &Value) -> Result<Option<String>, Status> {
        let of_volume = |pointer: &str| text(Some(volume), pointer);
        let inline = of_volume("/csi/driver");
        if !inline.is_empty() {
            return Ok(Some(inline.to_owned()));
        }
        let claim = match of_volume("/persistentVolumeClaim/claimName") {
            "" if volume.get("ephemeral").is_some_and(Value::is_object) => {
                format!("{}-{}", text(Some(pod), "/metadata/name"), of_volume("/name"))
            }
            "" => return Ok(None),
            claim => claim.to_owned(),
        };
        let claim = self.attributes.find("", "persistentvolumeclaims", self.attributes.namespace(), &claim)?;
        let persistent = match text(claim.as_ref(), "/spec/volumeName") {
            "" => None,
            name => self.attributes.find("", "persistentvolumes", "", name)?,
        };
        let driver = text(persistent.as_ref(), "/spec/csi/driver");
        Ok((!driver.is_empty()).then(|| driver.to_owned()))
    }

    fn slice(&self, object: Option<&Value>) -> Result<(), Status> {
        let of_node = text(object.or(self.attributes.old), "/spec/nodeName");
        match self.attributes.operation {
            Operation::Create => {
                self.allow(of_node == self.node, "can only create ResourceSlice with the same NodeName as the requesting node")
            }
            Operation::Delete => {
                self.allow(of_node == self.node, "can only delete ResourceSlice with the same NodeName as the requesting node")
            }
            _ => Ok(()),
        }
    }
}

/// A part of a document; an empty one is as good as none.
fn part<'a>(object: Option<&'a Value>, pointer: &str) -> Option<&'a Value> {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    object?.pointer(pointer).filter(|value| !empty(value))
}

fn labels(object: Option<&Value>) -> Option<&Map<String, Value>> {
    part(object, "/metadata/labels").and_then(Value::as_object)
}

/// The labels that differ and are not a node's to set.
fn forbidden_labels<'a>(new: Option<&'a Map<String, Value>>, old: Option<&'a Map<String, Value>>) -> Vec<&'a str> {
    let keys = new.into_iter().chain(old).flat_map(Map::keys).map(String::as_str);
    let value = |labels: Option<&'a Map<String, Value>>, key: &str| labels.and_then(|labels| labels.get(key));
    let mut forbidden: Vec<&str> =
        keys.filter(|key| value(new, key) != value(old, key)).filter(|key| !is_own_label(key)).collect();
    forbidden.sort_unstable();
    forbidden.dedup();
    forbidden
}
