//! A request as policies and webhooks look at it.

use std::borrow::Cow;
use std::sync::Arc;

use mizzen_api::{GroupVersionKind, Scope, Status};
use mizzen_extensions::cel::{Question, Scope as Documents};
use mizzen_extensions::matching::{Matching, Subject};
use serde_json::{Value, json};

use super::authority::Asking;
use super::options;
use crate::admission::{Attributes, Operation};
use crate::pipeline::scale;

pub(super) struct Request<'a> {
    pub(super) attributes: &'a Attributes<'a>,
    /// `None` for a deletion.
    pub(super) object: Option<&'a Value>,
    /// All versions in which a custom kind is served.
    versions: Vec<String>,
}

impl<'a> Request<'a> {
    pub(super) fn new(attributes: &'a Attributes<'a>, object: Option<&'a Value>) -> Self {
        let descriptor = &attributes.target.descriptor;
        let versions = match &descriptor.custom {
            None => Vec::new(),
            Some(_) => {
                let registry = attributes.registry.snapshot();
                let same =
                    registry.iter().filter(|other| other.group == descriptor.group && other.resource == descriptor.resource);
                same.flat_map(|other| other.versions.iter().map(|version| version.to_string())).collect()
            }
        };
        Self { attributes, object, versions }
    }

    /// A document in another version, as it is in the version of the request. Of a scale only its number counts.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn back(&self, version: &str, document: Value) -> Result<Value, Status> {
        let target = self.attributes.target;
        if let (true, Some(whole)) = (self.is_scale(), self.object) {
            return scale::write(target, whole.clone(), &document);
        }
        let Some(custom) = target.descriptor.custom.as_ref().filter(|_| version != &*target.version) else {
            return Ok(document);
        };
        let mut back = self.attributes.custom.convert(&target.descriptor, custom, &target.version, vec![document]).await?;
        back.pop().ok_or_else(|| Status::internal("a conversion lost the object"))
    }

    pub(super) fn operation(&self) -> &'static str {
        match self.attributes.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }

    /// The version in which the request is to be looked at; `None` when it is not matched.
    pub(super) fn matched(&self, matching: &Matching) -> Option<String> {
        let attributes = self.attributes;
        let subject = Subject {
            operation: self.operation(),
            group: attributes.group(),
            version: &attributes.target.version,
            resource: attributes.resource(),
            subresource: attributes.subresource(),
            name: attributes.name(),
            is_namespaced: attributes.target.descriptor.scope == Scope::Namespaced,
            versions: &self.versions,
        };
        let version = matching.version(&subject)?;
        let fits = matching.selects_object(self.object, attributes.old) && self.is_in_namespace_of(matching);
        fits.then(|| version.to_owned())
    }

    /// What is in no namespace, and is none, is in all of them.
    fn is_in_namespace_of(&self, matching: &Matching) -> bool {
        let attributes = self.attributes;
        if matching.is_for_all_namespaces() {
            return true;
        }
        if attributes.target.is_namespace() {
            let labels = self.object.or(attributes.old).and_then(|object| object.pointer("/metadata/labels"));
            return matching.selects_namespace(labels);
        }
        if attributes.namespace().is_empty() {
            return true;
        }
        let namespace = self.namespace_object();
        matching.selects_namespace(namespace.as_ref().and_then(|object| object.pointer("/metadata/labels")))
    }

    fn namespace_object(&self) -> Option<Value> {
        let namespace = self.attributes.namespace();
        if namespace.is_empty() {
            return None;
        }
        self.attributes.lookup("namespaces", "", namespace)?.value().ok()
    }

    /// A document in the version that is asked for.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn in_version<'v>(&self, version: &str, document: &'v Value) -> Result<Cow<'v, Value>, Status> {
        if self.is_scale() {
            return scale::view(self.attributes.target, document).map(Cow::Owned);
        }
        let descriptor = &self.attributes.target.descriptor;
        let Some(custom) = descriptor.custom.as_ref().filter(|_| version != &*self.attributes.target.version) else {
            return Ok(Cow::Borrowed(document));
        };
        let mut converted = self.attributes.custom.convert(descriptor, custom, version, vec![document.clone()]).await?;
        converted.pop().map(Cow::Owned).ok_or_else(|| Status::internal("a conversion lost the object"))
    }

    /// Whether the document is the whole object, of which only its scale is asked about.
    fn is_scale(&self) -> bool {
        self.attributes.subresource() == "scale"
    }

    /// The kind of what is asked about.
    pub(super) fn kind(&self) -> &str {
        match (self.attributes.operation, self.own_kind()) {
            (Operation::Connect, _) => self.object.and_then(|options| options["kind"].as_str()).unwrap_or_default(),
            (_, Some(kind)) => &kind.kind,
            (_, None) => &self.attributes.target.descriptor.kind,
        }
    }

    /// That of a subresource with a kind of its own.
    fn own_kind(&self) -> Option<&GroupVersionKind> {
        self.attributes.target.descriptor.subresource(self.attributes.subresource())?.kind.as_ref()
    }

    /// A namespace counts as in itself.
    pub(super) fn namespace(&self) -> &str {
        match self.attributes.target.is_namespace() {
            true => self.attributes.name(),
            false => self.attributes.namespace(),
        }
    }

    /// The options of the operation, as far as they are shown.
    pub(super) fn options(&self) -> Option<Value> {
        let kind = match self.attributes.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return None,
        };
        Some(options::shown(kind, &self.attributes.options, self.attributes.dry_run))
    }

    /// `AdmissionRequest` without the objects.
    pub(super) fn describe(&self, uid: &str, version: &str) -> Value {
        let attributes = self.attributes;
        let (target, who) = (attributes.target, attributes.identity);
        let kind = self.kind();
        let own = self.own_kind().filter(|_| attributes.operation != Operation::Connect);
        let kind_in = |version: &str| match own {
            Some(own) => json!({"group": &*own.group, "version": &*own.version, "kind": kind}),
            None => json!({"group": attributes.group(), "version": version, "kind": kind}),
        };
        let resource_in =
            |version: &str| json!({"group": attributes.group(), "version": version, "resource": attributes.resource()});
        let options = self.options().unwrap_or_default();
        let mut user = json!({"username": who.username, "groups": who.groups});
        if !who.uid.is_empty() {
            user["uid"] = json!(who.uid);
        }
        if !who.extra.is_empty() {
            user["extra"] = json!(who.extra);
        }
        let mut request = json!({
            "uid": uid, "kind": kind_in(version), "resource": resource_in(version), "requestKind": kind_in(&target.version),
            "requestResource": resource_in(&target.version), "name": attributes.name(), "operation": self.operation(),
            "userInfo": user, "dryRun": attributes.dry_run, "options": options,
        });
        if !self.namespace().is_empty() {
            request["namespace"] = json!(self.namespace());
        }
        if !attributes.subresource().is_empty() {
            request["subResource"] = json!(attributes.subresource());
            request["requestSubResource"] = json!(attributes.subresource());
        }
        request
    }

    /// What expressions see of the request.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn documents(&self, version: &str) -> Result<Documents, Status> {
        let attributes = self.attributes;
        let mut scope = Documents::default();
        for (name, document) in [("object", self.object), ("oldObject", attributes.old)] {
            match document {
                Some(document) => scope.set(name, Some(self.in_version(version, document).await?.as_ref())),
                None => scope.set(name, None),
            }
        }
        scope.set("request", Some(&self.describe("", version)));
        scope.set("namespaceObject", self.namespace_object().as_ref());
        scope.set("params", None);
        let question = Question {
            group: attributes.group().to_owned(),
            resource: attributes.resource().to_owned(),
            subresource: attributes.subresource().to_owned(),
            namespace: attributes.namespace().to_owned(),
            name: attributes.name().to_owned(),
            ..Question::default()
        };
        let asking = Asking { authorizer: attributes.authorizer.clone(), identity: attributes.identity.clone() };
        scope.authorize(Arc::new(asking), question);
        Ok(scope)
    }
}
