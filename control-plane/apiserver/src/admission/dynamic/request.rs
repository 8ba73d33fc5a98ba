//! A request as policies and webhooks look at it.

use std::borrow::Cow;
use std::sync::Arc;

use mizzen_api::{GroupVersion, GroupVersionKind, ResourceDescriptor, Scope, Status};
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
    /// What the client speaks.
    spoken: GroupVersion,
    /// All groups and versions in which the same objects are served; none where there is only one.
    equivalents: Vec<GroupVersion>,
}

impl<'a> Request<'a> {
    pub(super) fn new(attributes: &'a Attributes<'a>, object: Option<&'a Value>) -> Self {
        let target = attributes.target;
        let own =
            |descriptor: &ResourceDescriptor, version: &Arc<str>| GroupVersion::new(descriptor.group.clone(), version.clone());
        let spoken = target.spoken.clone().unwrap_or_else(|| own(&target.descriptor, &target.version));
        let stored = target.descriptor.group_resource();
        let registry = attributes.registry.snapshot();
        let is_same = |other: &ResourceDescriptor| match &other.stored_as {
            Some(other) => (&other.group, &other.resource) == (&stored.group, &stored.resource),
            None => (&other.group, &other.resource) == (&stored.group, &stored.resource),
        };
        let same = registry.iter().filter(|other| is_same(other));
        let mut equivalents: Vec<GroupVersion> =
            same.flat_map(|other| other.versions.iter().map(|version| own(other, version))).collect();
        if equivalents.len() == 1 {
            equivalents.clear();
        }
        Self { attributes, object, spoken, equivalents }
    }

    /// A document in another form, as it is in that of the request. Of a scale only its number counts.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn back(&self, form: &GroupVersion, mut document: Value) -> Result<Value, Status> {
        let target = self.attributes.target;
        if let (true, Some(whole)) = (self.is_scale(), self.object) {
            return scale::write(target, whole.clone(), &document);
        }
        if let Some(custom) = target.descriptor.custom.as_ref().filter(|_| form.version != target.version) {
            let mut back = self.attributes.custom.convert(&target.descriptor, custom, &target.version, vec![document]).await?;
            return back.pop().ok_or_else(|| Status::internal("a conversion lost the object"));
        }
        if let Some(descriptor) = self.served(form)
            && let Some(other) = descriptor.other_form(&form.version).filter(|_| self.own_kind().is_none())
        {
            mizzen_api::schema::apply_defaults(&self.attributes.registry.schemas(), &other.schema, &mut document);
            other.form.store(&mut document);
            document["apiVersion"] = json!(target.api_version());
        }
        Ok(document)
    }

    /// The resource as it is served in a form.
    pub(super) fn served(&self, form: &GroupVersion) -> Option<Arc<ResourceDescriptor>> {
        self.attributes.registry.by_resource(&form.group, &form.version, self.attributes.resource())
    }

    /// The form in which the request is to be looked at; `None` when it is not matched.
    pub(super) fn matched(&self, matching: &Matching) -> Option<GroupVersion> {
        let attributes = self.attributes;
        let subject = Subject {
            operation: attributes.operation.as_str(),
            spoken: &self.spoken,
            resource: attributes.resource(),
            subresource: attributes.subresource(),
            name: attributes.name(),
            is_namespaced: attributes.target.descriptor.scope == Scope::Namespaced,
            equivalents: &self.equivalents,
        };
        let form = matching.form(&subject)?;
        let fits = matching.selects_object(self.object, attributes.old) && self.is_in_namespace_of(matching);
        fits.then(|| form.clone())
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

    /// A document in the form that is asked for.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn in_form<'v>(&self, form: &GroupVersion, document: &'v Value) -> Result<Cow<'v, Value>, Status> {
        if self.is_scale() {
            return scale::view(self.attributes.target, document).map(Cow::Owned);
        }
        let descriptor = &self.attributes.target.descriptor;
        if let Some(custom) = descriptor.custom.as_ref().filter(|_| form.version != self.attributes.target.version) {
            let mut converted = self.attributes.custom.convert(descriptor, custom, &form.version, vec![document.clone()]).await?;
            return converted.pop().map(Cow::Owned).ok_or_else(|| Status::internal("a conversion lost the object"));
        }
        // What is stored has one form, in which a request is handled whatever the client speaks.
        Ok(match self.served(form).as_ref().and_then(|served| served.other_form(&form.version)) {
            Some(other) if self.own_kind().is_none() => {
                let mut shown = document.clone();
                other.form.show(&mut shown);
                shown["apiVersion"] = json!(form.to_string());
                Cow::Owned(shown)
            }
            _ => Cow::Borrowed(document),
        })
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
    pub(super) fn own_kind(&self) -> Option<&GroupVersionKind> {
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
    pub(super) fn describe(&self, uid: &str, form: &GroupVersion) -> Value {
        let attributes = self.attributes;
        let who = attributes.identity;
        let kind = self.kind();
        let own = self.own_kind().filter(|_| attributes.operation != Operation::Connect);
        let kind_in = |form: &GroupVersion| match own {
            Some(own) => json!({"group": &*own.group, "version": &*own.version, "kind": kind}),
            None => json!({"group": form.group, "version": form.version, "kind": kind}),
        };
        let resource_in =
            |form: &GroupVersion| json!({"group": form.group, "version": form.version, "resource": attributes.resource()});
        let options = self.options().unwrap_or_default();
        let mut user = json!({"username": who.username, "groups": who.groups});
        if !who.uid.is_empty() {
            user["uid"] = json!(who.uid);
        }
        if !who.extra.is_empty() {
            user["extra"] = json!(who.extra);
        }
        let mut request = json!({
            "uid": uid, "kind": kind_in(form), "resource": resource_in(form), "requestKind": kind_in(&self.spoken),
            "requestResource": resource_in(&self.spoken), "name": attributes.name(), "operation": attributes.operation.as_str(),
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
    pub(super) async fn documents(&self, form: &GroupVersion) -> Result<Documents, Status> {
        let attributes = self.attributes;
        let mut scope = Documents::default();
        for (name, document) in [("object", self.object), ("oldObject", attributes.old)] {
            match document {
                Some(document) => scope.set(name, Some(self.in_form(form, document).await?.as_ref())),
                None => scope.set(name, None),
            }
        }
        scope.set("request", Some(&self.describe("", form)));
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
