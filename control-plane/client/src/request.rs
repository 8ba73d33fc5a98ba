//! Requests to the API, independent of how they travel. Names follow the query parameters of the Kubernetes API.

use std::sync::Arc;

use bytes::Bytes;
use mizzen_api::{GroupVersionResource, Object, Verb};
use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub label_selector: String,
    pub field_selector: String,
    /// 0 means no limit.
    pub limit: u64,
    pub continue_token: String,
    /// Empty: the most recent.
    pub resource_version: String,
    /// `NotOlderThan` or `Exact`; empty when not given.
    pub resource_version_match: String,
}

#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    pub label_selector: String,
    pub field_selector: String,
    /// Start after this revision; empty or `0`: begin with the present objects as ADDED.
    pub resource_version: String,
    pub resource_version_match: String,
    pub allow_bookmarks: bool,
    pub send_initial_events: Option<bool>,
    /// Seconds after which the server ends the watch.
    pub timeout_seconds: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct ObjectList {
    pub items: Vec<Arc<Object>>,
    /// The revision the list is of: watch from here.
    pub revision: u64,
    pub continue_token: Option<String>,
    pub remaining: Option<u64>,
}

#[derive(Clone, Debug)]
pub enum WatchEvent {
    Added(Arc<Object>),
    Modified(Arc<Object>),
    /// The last state of the object, with the revision of its deletion.
    Deleted(Arc<Object>),
    /// All changes up to this revision have been sent. `initial_events_end` is the annotation that ends `sendInitialEvents`.
    Bookmark {
        revision: u64,
        initial_events_end: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json` (RFC 6902).
    Json,
    /// `application/merge-patch+json` (RFC 7386).
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`: server-side apply.
    Apply,
}

impl PatchKind {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// Query parameters of create, update and patch.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// `dryRun=All`.
    pub dry_run: bool,
    pub field_manager: String,
    /// `Ignore`, `Warn` or `Strict`; empty is the server's default, `Warn`.
    pub field_validation: String,
    /// Server-side apply: take over fields that others own.
    pub force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// `meta/v1.DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// Preconditions.
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

/// A body as it came: in-process clients pass values, HTTP passes bytes that the pipeline parses (to find duplicate
/// and unknown fields).
#[derive(Clone, Debug)]
pub enum Body {
    None,
    Value(Value),
    Json(Bytes),
    Yaml(Bytes),
}

/// A request that writes.
#[derive(Clone, Debug)]
pub struct ApiRequest {
    /// `Create`, `Update`, `Patch`, `Delete` or `DeleteCollection`.
    pub verb: Verb,
    pub resource: GroupVersionResource,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    /// Empty for create (unless a subresource is created, such as `binding`) and for delete collection.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
    pub body: Body,
    pub patch: Option<PatchKind>,
    pub write: WriteOptions,
    pub delete: DeleteOptions,
    /// Selectors of a delete collection.
    pub list: ListOptions,
}

impl ApiRequest {
    pub fn new(verb: Verb, resource: &GroupVersionResource, namespace: &str, name: &str) -> Self {
        Self {
            verb,
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            body: Body::None,
            patch: None,
            write: WriteOptions::default(),
            delete: DeleteOptions::default(),
            list: ListOptions::default(),
        }
    }

    pub fn create(resource: &GroupVersionResource, namespace: &str, object: Value) -> Self {
        Self { body: Body::Value(object), ..Self::new(Verb::Create, resource, namespace, "") }
    }

    pub fn update(resource: &GroupVersionResource, namespace: &str, name: &str, object: Value) -> Self {
        Self { body: Body::Value(object), ..Self::new(Verb::Update, resource, namespace, name) }
    }

    pub fn patch(resource: &GroupVersionResource, namespace: &str, name: &str, kind: PatchKind, patch: Value) -> Self {
        Self { body: Body::Value(patch), patch: Some(kind), ..Self::new(Verb::Patch, resource, namespace, name) }
    }

    pub fn delete(resource: &GroupVersionResource, namespace: &str, name: &str, options: DeleteOptions) -> Self {
        Self { delete: options, ..Self::new(Verb::Delete, resource, namespace, name) }
    }

    #[must_use]
    pub fn subresource(mut self, name: &str) -> Self {
        self.subresource = name.to_owned();
        self
    }

    #[must_use]
    pub fn manager(mut self, field_manager: &str) -> Self {
        self.write.field_manager = field_manager.to_owned();
        self
    }
}

/// The answer to a write.
#[derive(Clone, Debug)]
pub struct ApiResponse {
    /// HTTP status code: 200, 201 or 202; or [`ApiResponse::REMEMBERED`].
    pub code: u16,
    /// The object written or deleted, or the answer of a virtual resource or subresource (a review, a token, a Status).
    pub object: Arc<Object>,
    /// Text for `Warning: 299` headers.
    pub warnings: Vec<String>,
}

impl ApiResponse {
    /// The code of an answer that was given before, and is given again for the server that is away (RFC 9110, 15.3.4).
    pub const REMEMBERED: u16 = 203;
}
