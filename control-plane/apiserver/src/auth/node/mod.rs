//! The node authorizer: a node reads what the pods bound to it refer to, and its own objects ("Using Node Authorization"
//! in the Kubernetes documents). What it may write is narrowed further by the admission plugin NodeRestriction.

mod graph;
mod references;

use std::sync::Arc;

use mizzen_api::{FieldSelector, local_path};
use mizzen_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::certificates::{NODE_GROUP, NODE_USER};
use super::rbac::Rule;
use super::{Action, Authorizer, Decision, Identity, bootstrap};
use graph::Graph;
use references::Referred;

const LEASES: &str = "kube-node-lease";

/// Which node a user is: `None` for who is no node, an empty name for a node that does not say which.
pub(crate) fn node_of(user: &Identity) -> Option<&str> {
    let node = user.username.strip_prefix(NODE_USER)?;
    user.groups.iter().any(|group| group == NODE_GROUP).then_some(node)
}

/// What of the API a pod refers to, in the plural, if anything.
pub(crate) fn refers_to(pod: &serde_json::Value) -> Option<&'static str> {
    references::of(pod).first().map(|(kind, _)| match kind {
        Referred::Secret => "secrets",
        Referred::ConfigMap => "configmaps",
        Referred::Claim => "persistentvolumeclaims",
        Referred::ResourceClaim => "resourceclaims",
        Referred::Account => "a service account",
    })
}

pub struct NodeAuthorizer {
    graph: Arc<Graph>,
    /// What all nodes may do alike.
    rules: Vec<Rule>,
}

/// `Err` says why not.
type Answer = Result<(), String>;

impl NodeAuthorizer {
    /// Reads which pods are bound to which nodes, then follows changes until `cancel`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(store: Arc<dyn Store>, cancel: CancellationToken) -> Result<Arc<Self>, StoreError> {
        Ok(Arc::new(Self { graph: Graph::start(store, cancel)?, rules: bootstrap::node_rules() }))
    }

    fn decide(&self, node: &str, action: &Action<'_>, fields: Option<&FieldSelector>) -> Answer {
        let Action::Resource { group, resource, .. } = action else { return self.alike(action) };
        let asked = Asked { node, graph: &self.graph, action, fields };
        match (*group, *resource) {
            ("", "secrets") => asked.read(Referred::Secret),
            ("", "configmaps") => asked.read(Referred::ConfigMap),
            ("", "persistentvolumeclaims") => asked.claim(),
            ("", "persistentvolumes") => asked.volume(),
            ("", "serviceaccounts") => asked.account(),
            ("", "nodes") => asked.node(),
            ("", "pods") => asked.pod(),
            ("resource.k8s.io", "resourceclaims") => {
                asked.get(|name, namespace| asked.graph.refers(node, Referred::ResourceClaim, namespace, name))
            }
            ("resource.k8s.io", "resourceslices") => asked.slice(),
            ("storage.k8s.io", "volumeattachments") => {
                asked.get(|name, _| asked.graph.names_node("storage.k8s.io", "volumeattachments", name, "/spec/nodeName", node))
            }
            ("storage.k8s.io", "csinodes") => asked.own("CSINode"),
            ("coordination.k8s.io", "leases") => asked.lease(),
            _ => self.alike(action),
        }
    }

    fn alike(&self, action: &Action<'_>) -> Answer {
        match self.rules.iter().any(|rule| rule.allows(action)) {
            true => Ok(()),
            false => Err(String::new()),
        }
    }

    fn answer(&self, user: &Identity, action: &Action<'_>, fields: Option<&FieldSelector>) -> Decision {
        let answer = match node_of(user) {
            None => Err(String::new()),
            Some("") => Err(format!("unknown node for user {:?}", user.username)),
            Some(node) => self.decide(node, action, fields),
        };
        match answer {
            Ok(()) => Decision::Allow { reason: String::new() },
            Err(reason) => Decision::NoOpinion { reason },
        }
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, user: &Identity, action: &Action<'_>) -> Decision {
        self.answer(user, action, None)
    }

    fn authorize_selected(&self, user: &Identity, action: &Action<'_>, fields: &FieldSelector) -> Decision {
        self.answer(user, action, Some(fields))
    }
}

/// One question about one resource.
struct Asked<'a> {
    node: &'a str,
    graph: &'a Graph,
    action: &'a Action<'a>,
    fields: Option<&'a FieldSelector>,
}

impl Asked<'_> {
    /// Verb, subresource, namespace and name.
    fn parts(&self) -> (&str, &str, &str, &str) {
        match self.action {
            Action::Resource { verb, subresource, namespace, name, .. } => (verb, subresource, namespace, name),
            Action::Path { .. } => ("", "", "", ""),
        }
    }

    fn related(&self, found: bool) -> Answer {
        match found {
            true => Ok(()),
            false => Err(format!("no relationship found between node '{}' and this object", self.node)),
        }
    }

    /// A single object in its namespace, also by a list or watch of that name.
    fn read(&self, kind: Referred) -> Answer {
        let (verb, subresource, namespace, name) = self.parts();
        expect(matches!(verb, "get" | "list" | "watch"), "can only read resources of this type")?;
        expect(subresource.is_empty(), "cannot read subresource")?;
        expect(!namespace.is_empty(), "can only read namespaced object of this type")?;
        expect(!name.is_empty(), "No Object name found")?;
        self.related(self.graph.refers(self.node, kind, namespace, name))
    }

    /// A single object for which `related` (of name and namespace) holds.
    fn get(&self, related: impl FnOnce(&str, &str) -> bool) -> Answer {
        let (verb, subresource, namespace, name) = self.parts();
        expect(verb == "get", "can only get individual resources of this type")?;
        expect(subresource.is_empty(), "cannot get subresource")?;
        expect(!name.is_empty(), "No Object name found")?;
        self.related(related(name, namespace))
    }

    fn claim(&self) -> Answer {
        let (verb, subresource, namespace, name) = self.parts();
        let refers = |name: &str, namespace: &str| self.graph.refers(self.node, Referred::Claim, namespace, name);
        if subresource != "status" {
            return self.get(refers);
        }
        expect(matches!(verb, "update" | "patch"), "can only get/update/patch this type")?;
        self.related(refers(name, namespace))
    }

    /// Volumes that its pods claim, and those that it keeps itself: it removes them when nobody claims them any more.
    fn volume(&self) -> Answer {
        let (verb, subresource, _, name) = self.parts();
        let keeps = || self.graph.names_node("", "persistentvolumes", name, &kept_by(), self.node);
        match verb {
            "delete" if subresource.is_empty() && !name.is_empty() => self.related(keeps()),
            _ => self.get(|name, _| self.graph.reaches_volume(self.node, name) || keeps()),
        }
    }

    /// Tokens of the accounts that its pods run as, and those accounts.
    fn account(&self) -> Answer {
        let (verb, subresource, namespace, name) = self.parts();
        match (verb, subresource) {
            ("get", "") | ("create", "token") if !name.is_empty() => {
                self.related(self.graph.refers(self.node, Referred::Account, namespace, name))
            }
            ("create", _) => Err("can only create tokens for individual service accounts".to_owned()),
            _ => Err("can only create token subresource of serviceaccount".to_owned()),
        }
    }

    fn node(&self) -> Answer {
        let (verb, subresource, _, name) = self.parts();
        let node = self.node;
        match (subresource, verb) {
            // Which one, admission looks at.
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") if name == node => Ok(()),
            ("", "get" | "list" | "watch") if name.is_empty() => {
                Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("", "get" | "list" | "watch") => Err(format!("node '{node}' cannot read '{name}', only its own Node object")),
            _ => Err(String::new()),
        }
    }

    fn pod(&self) -> Answer {
        let (verb, subresource, namespace, name) = self.parts();
        let bound = || self.related(!name.is_empty() && self.graph.runs(self.node, namespace, name));
        match (subresource, verb) {
            ("", "get") => bound(),
            ("", "list" | "watch") if self.selects("spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !name.is_empty() => bound(),
            // Whom network policies are about may be anywhere; where there are none, nodes have no business with it.
            ("", "list" | "watch") if self.exact("spec.hostNetwork") == Some("false") && self.graph.has_network_policies() => {
                Ok(())
            }
            ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
            // Which ones, admission looks at.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => Err(String::new()),
        }
    }

    fn slice(&self) -> Answer {
        let (verb, subresource, _, name) = self.parts();
        expect(subresource.is_empty(), "cannot authorize ResourceSlice subresources")?;
        match verb {
            // Whose, admission looks at.
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => {
                let own = self.graph.names_node("resource.k8s.io", "resourceslices", name, "/spec/nodeName", self.node);
                self.related(own)
            }
            "list" | "watch" | "deletecollection" if self.selects("spec.nodeName") => Ok(()),
            _ => Err("can only list/watch/deletecollection resourceslices with nodeName field selector".to_owned()),
        }
    }

    fn lease(&self) -> Answer {
        let (_, _, namespace, _) = self.parts();
        let verbs = self.own("node lease");
        expect(namespace == LEASES, &format!("can only access leases in the {LEASES:?} system namespace"))?;
        verbs
    }

    /// The object that is called as the node is.
    fn own(&self, kind: &str) -> Answer {
        let (verb, subresource, _, name) = self.parts();
        let known = matches!(verb, "get" | "create" | "update" | "patch" | "delete");
        expect(known, &format!("can only get, create, update, patch, or delete a {kind}"))?;
        expect(subresource.is_empty(), &format!("cannot authorize {kind} subresources"))?;
        // The name of what is being created, admission looks at.
        let own = verb == "create" || name == self.node;
        expect(own, &format!("can only access {kind} with the same name as the requesting node"))
    }

    fn selects(&self, field: &str) -> bool {
        self.exact(field) == Some(self.node)
    }

    fn exact(&self, field: &str) -> Option<&str> {
        self.fields.and_then(|fields| fields.exact(field))
    }
}

/// Where a volume says which node keeps it (RFC 6901).
fn kept_by() -> String {
    format!("/metadata/annotations/{}", local_path::NODE.replace('/', "~1"))
}

fn expect(holds: bool, otherwise: &str) -> Answer {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
