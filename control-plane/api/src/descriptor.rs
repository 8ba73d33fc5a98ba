//! A kind as data. Routes, discovery, OpenAPI, validation, patching and printing all derive from descriptors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::forms::OtherForm;
use crate::names::{GroupResource, GroupVersionKind, GroupVersionResource};
use crate::schema::Problem;
use crate::status::Cause;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Cluster,
    Namespaced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb as discovery, RBAC rules and audit write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// What may be done below one object.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// As in the path: `status`, `scale`, `log`, `exec`, `binding`, `token`, …
    pub name: &'static str,
    /// The kind of the subresource's own body, where it differs from the resource's.
    pub kind: Option<GroupVersionKind>,
    pub verbs: &'static [Verb],
}

/// One column of `kubectl get` (`meta/v1.TableColumnDefinition`).
#[derive(Clone, Debug)]
pub struct Column {
    pub name: Cow<'static, str>,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: Cow<'static, str>,
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// 0 is shown always, 1 with `-o wide`.
    pub priority: i32,
}

/// What a strategy's functions may know besides the document.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Seconds since the epoch, for ages in tables.
    pub now: jiff::Timestamp,
}

/// What one kind does that others do not. Every function works on whole documents, so that unknown fields survive.
///
/// The pipeline calls, on create: [`Strategy::default`], [`Strategy::prepare_create`], [`Strategy::validate`]; on
/// update: `default`, [`Strategy::prepare_update`], `validate`, [`Strategy::validate_update`]; on update of a
/// subresource that is a part of the object: `default`, [`Strategy::prepare_subresource_update`],
/// [`Strategy::validate_subresource_update`]. The schema's own defaults come before `default`. Metadata (names,
/// labels, owner references, finalizers, generation) is the pipeline's own work.
pub trait Strategy: Send + Sync + 'static {
    /// Fills in what the schema's constant defaults cannot say.
    fn default(&self, _object: &mut Value) {}

    /// Drops what a client may not set on create (most often `status`).
    fn prepare_create(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
    }

    /// Keeps what a client may not change through the main resource (most often `status`).
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        if let Some(object) = object.as_object_mut() {
            match old.get("status") {
                Some(status) if object.get("status") == Some(status) => None,
                Some(status) => object.insert("status".to_owned(), status.clone()),
                None => object.remove("status"),
            };
        }
    }

    /// Whether checking a document runs what users wrote (rules of schemas), which may take some 100 ms.
    fn runs_rules(&self) -> bool {
        false
    }

    /// Every wrong field of a document that is to be stored.
    fn validate(&self, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// All that is wrong with a document that is new.
    fn validate_new(&self, object: &Value) -> Vec<Cause> {
        self.validate(object)
    }

    /// All that is wrong with a document that replaces `old`.
    fn validate_replacement(&self, object: &Value, old: &Value) -> Vec<Cause> {
        let mut causes = self.validate(object);
        causes.extend(self.validate_update(object, old));
        causes
    }

    /// What strict decoding has to say of a body, for kinds whose named schema does not say it all; with this, the kind's own
    /// [`Strategy::default`] does all defaulting.
    fn problems(&self, _object: &Value) -> Option<Vec<Problem>> {
        None
    }

    /// Marks an object that is about to be deleted, at `now` (RFC 3339); a finalizer holds it.
    fn prepare_delete(&self, _object: &mut Value, _now: &str) {}

    /// Every field whose change is refused.
    fn validate_update(&self, _object: &Value, _old: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// Keeps what an update through a subresource that is a part of the object itself may not change: by default all
    /// but `status` and metadata, for `status`.
    fn prepare_subresource_update(&self, subresource: &str, object: &mut Value, old: &Value) {
        if subresource == "status" {
            keep_all_but(&["metadata", "status"], object, old);
        }
    }

    /// Every field whose change through a subresource (`status`, `ephemeralcontainers`, `finalize`, …) is refused.
    fn validate_subresource_update(&self, _subresource: &str, _object: &Value, _old: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// Which names the kind's objects may have; the pipeline checks the metadata by it.
    fn name_rule(&self) -> crate::validate::NameRule {
        crate::validate::NameRule::Dns1123Subdomain
    }

    /// Whether what it owns outlives it when a deletion does not say (the oldest workloads).
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// Whether an update may leave out which version of the object it changes, and then replaces whatever is there.
    fn updates_unconditionally(&self) -> bool {
        true
    }

    /// Whether the kind counts generations (`metadata.generation`), from 1 on.
    fn has_generation(&self, object: &Value) -> bool {
        object.get("spec").is_some()
    }

    /// Whether a change between the two counts as a new generation (most often a change of `spec`).
    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        object.get("spec") != old.get("spec")
    }

    /// The value of a field that field selectors may name besides `metadata.name` and `metadata.namespace`;
    /// `None` when this kind has no such selectable field.
    fn selectable(&self, _object: &Value, _path: &str) -> Option<String> {
        None
    }

    /// The paths that [`Strategy::selectable`] knows.
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`Strategy::selectable`] knows a path.
    fn is_selectable(&self, path: &str) -> bool {
        self.selectable_fields().contains(&path)
    }

    /// Whether the pipeline adds the column `Name` first; events place it themselves.
    fn name_comes_first(&self) -> bool {
        true
    }

    /// Columns after `Name` (the pipeline adds `Name` first); `Age` is the kind's to place.
    fn columns(&self) -> &[Column] {
        AGE_ONLY
    }

    /// One cell per column of [`Strategy::columns`].
    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        vec![Value::String(crate::print::age(object, context.now))]
    }

    /// How long a deletion waits when the request does not say, in seconds; 0 deletes at once. Pods have a grace period.
    fn default_grace_seconds(&self, _object: &Value) -> i64 {
        0
    }
}

/// Makes `object` the `old` one but for the top-level fields `changed`.
pub(crate) fn keep_all_but(changed: &[&str], object: &mut Value, old: &Value) {
    if let (Some(object), Some(old)) = (object.as_object_mut(), old.as_object()) {
        object.retain(|key, _| changed.contains(&key.as_str()) || old.contains_key(key));
        for (key, value) in old {
            // Most often it was sent as it is.
            if !changed.contains(&key.as_str()) && object.get(key) != Some(value) {
                object.insert(key.clone(), value.clone());
            }
        }
    }
}

impl Column {
    const fn new(name: &'static str, kind: &'static str, description: &'static str, priority: i32) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed(kind),
            format: Cow::Borrowed(""),
            description: Cow::Borrowed(description),
            priority,
        }
    }

    /// A text that is always shown.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", description, 0)
    }

    /// The name of an object, always shown.
    pub const fn named(name: &'static str, description: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed("string"),
            format: Cow::Borrowed("name"),
            description: Cow::Borrowed(description),
            priority: 0,
        }
    }

    /// The same where only `-o wide` shows it.
    pub const fn wide_named(name: &'static str, description: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed("string"),
            format: Cow::Borrowed("name"),
            description: Cow::Borrowed(description),
            priority: 1,
        }
    }

    /// A number that is always shown.
    pub const fn number(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "integer", description, 0)
    }

    /// A time that is always shown.
    pub const fn date(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "date", description, 0)
    }

    /// A text that `-o wide` shows.
    pub const fn wide(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", description, 1)
    }

    /// A yes or no that is always shown.
    pub const fn flag(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "boolean", description, 0)
    }

    /// The column that the pipeline adds, for kinds that fill it themselves.
    pub(crate) const NAME: Self = Self::named("Name", "Name of the object, unique within its namespace and kind.");

    pub const AGE: Self = Self::text("Age", "Time since the object was created.");
}

/// The columns of a kind that has nothing special to show.
pub const AGE_ONLY: &[Column] = &[Column::AGE];

/// Where `/scale` finds its numbers (`autoscaling/v1.Scale`), as JSON pointers.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    pub spec_replicas: Cow<'static, str>,
    pub status_replicas: Cow<'static, str>,
    /// Empty when there is no selector.
    pub selector: Cow<'static, str>,
}

/// The JSON pointer of a simple path such as `.spec.replicas`, empty for the empty path.
pub fn pointer_of(path: &str) -> String {
    path.replace('~', "~0").replace('/', "~1").replace('.', "/")
}

/// What a resource that a CustomResourceDefinition made has besides: its descriptor is one of several, one for each served
/// version.
#[derive(Clone)]
pub struct Custom {
    /// The definition's name.
    pub definition: Arc<str>,
    /// The version in which objects are written to the store; what is there may still be in another one.
    pub stored_version: Arc<str>,
    /// This descriptor's version is the one that clients should prefer.
    pub is_preferred: bool,
    pub conversion: Conversion,
    /// Of every version, served or not: what is read from the store is defaulted in its own version before it is converted.
    pub strategies: Arc<BTreeMap<Arc<str>, Arc<dyn Strategy>>>,
    /// Documents may look other than they are stored: pruned and defaulted by a schema that is newer than they are.
    pub is_rewritten: bool,
    /// What clients that use this version are warned of.
    pub deprecation: Option<Arc<str>>,
    /// The definition is being deleted: nothing new may be created.
    pub is_terminating: bool,
    pub list_kind: Arc<str>,
}

/// How a document of one version becomes one of another.
#[derive(Clone, Debug)]
pub enum Conversion {
    /// Only `apiVersion` differs.
    None,
    /// A service converts (`CustomResourceConversion.webhook`).
    Webhook(Arc<Value>),
}

/// Everything the generic pipeline needs to know of a resource.
#[derive(Clone)]
pub struct ResourceDescriptor {
    pub group: Arc<str>,
    /// Served versions, the preferred and stored one first.
    pub versions: Vec<Arc<str>>,
    pub kind: Arc<str>,
    /// Plural, as in the path.
    pub resource: Arc<str>,
    pub singular: Arc<str>,
    pub short_names: Vec<Arc<str>>,
    pub categories: Vec<Arc<str>>,
    pub scope: Scope,
    pub verbs: &'static [Verb],
    pub subresources: Vec<Subresource>,
    pub scale: Option<ScalePaths>,
    /// Name in the schema set, for example `io.k8s.api.core.v1.Pod`.
    pub schema: Arc<str>,
    /// Not stored: creating one only gives an answer (the SubjectAccessReview family, TokenReview).
    pub virtual_only: bool,
    /// Served versions whose documents are not stored as they are.
    pub other_forms: Vec<OtherForm>,
    /// The resource that holds the objects, where it is another one (the events of `events.k8s.io`).
    pub stored_as: Option<GroupVersionResource>,
    /// Made by a CustomResourceDefinition.
    pub custom: Option<Arc<Custom>>,
    pub strategy: Arc<dyn Strategy>,
}

impl ResourceDescriptor {
    /// Whether the descriptor stands for its resource where each is looked at once, whatever its versions.
    pub fn is_preferred(&self) -> bool {
        self.custom.as_ref().is_none_or(|custom| custom.is_preferred)
    }

    /// The kind of lists.
    pub fn list_kind(&self) -> Cow<'_, str> {
        match &self.custom {
            Some(custom) => Cow::Borrowed(&custom.list_kind),
            None => Cow::Owned(format!("{}List", self.kind)),
        }
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group.clone(), self.resource.clone())
    }

    /// The version that is stored and preferred.
    pub fn storage_version(&self) -> &Arc<str> {
        &self.versions[0]
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group.clone(), self.storage_version().clone(), self.kind.clone())
    }

    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource::new(self.group.clone(), self.storage_version().clone(), self.resource.clone())
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// The form of a served version whose documents are not stored as they are.
    pub fn other_form(&self, version: &str) -> Option<&OtherForm> {
        self.other_forms.iter().find(|form| &*form.version == version)
    }

    /// The name of a served version's schema.
    pub fn schema_of(&self, version: &str) -> &Arc<str> {
        self.other_form(version).map_or(&self.schema, |form| &form.schema)
    }

    /// The store's prefix for all objects of the resource, `/registry/{group}/{resource}/`.
    pub fn prefix(&self) -> String {
        match &self.stored_as {
            Some(stored) => format!("/registry/{}/{}/", stored.group, stored.resource),
            None => format!("/registry/{}/{}/", self.group, self.resource),
        }
    }

    /// The store's key for one object; cluster-scoped objects have no namespace part.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        match self.scope {
            Scope::Cluster => format!("{}{name}", self.prefix()),
            Scope::Namespaced => format!("{}{namespace}/{name}", self.prefix()),
        }
    }
}
