//! `meta/v1.Status`: how the API says that something went wrong (API conventions, "Response Status Kind").

use serde::{Deserialize, Serialize};

/// `Status.reason`, with the HTTP code each belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
    /// `Status` has no `reason` then.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Reason {
    /// The HTTP status code that goes with the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::ServerTimeout | Self::Timeout => 504,
        }
    }
}

/// So many wrong fields are named, and as many after the first as fit into so many bytes: an answer must not be many times
/// as large as what it answers.
const MAX_CAUSES: usize = 1000;
const MAX_CAUSE_BYTES: usize = 1 << 20;

/// One wrong field (`meta/v1.StatusCause`); `reason` is one of `FieldValueInvalid`, `FieldValueRequired`,
/// `FieldValueNotSupported`, `FieldValueForbidden`, `FieldValueDuplicate`, `FieldValueTooLong`, `FieldValueTypeInvalid`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// A failed request, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub reason: Reason,
    #[serde(default)]
    pub details: Details,
    /// HTTP status code.
    pub code: u16,
    /// `metadata.continue`: with an expired list, the token that goes on with it all the same.
    #[serde(skip)]
    pub continue_token: Option<String>,
    /// What the client is told besides, in headers: of its request, and by admission before something refused it.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let (details, code) = (Details::default(), reason.code());
        Self { message: message.into(), reason, details, code, continue_token: None, warnings: Vec::new() }
    }

    /// Tells the client `warnings` too, before those that are there.
    #[must_use]
    pub fn warned(mut self, warnings: Vec<String>) -> Self {
        self.warnings.splice(0..0, warnings);
        self
    }

    /// `resource` is a plural with its group, such as `pods` or `deployments.apps`.
    pub fn not_found(resource: &crate::GroupResource, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{resource} \"{name}\" not found")).about(resource, name)
    }

    pub fn already_exists(resource: &crate::GroupResource, name: &str) -> Self {
        Self::new(Reason::AlreadyExists, format!("{resource} \"{name}\" already exists")).about(resource, name)
    }

    pub fn conflict(resource: &crate::GroupResource, name: &str, why: &str) -> Self {
        Self::new(Reason::Conflict, format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"))
            .about(resource, name)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 422 that names every wrong field. `kind` has its group behind a dot, where it has one.
    pub fn invalid(kind: &str, name: &str, mut causes: Vec<Cause>) -> Self {
        let mut left = MAX_CAUSE_BYTES;
        let fits = |cause: &&Cause| {
            let fits = left > 0;
            left = left.saturating_sub(cause.field.len() + cause.message.len());
            fits
        };
        let named = causes.iter().take(MAX_CAUSES).take_while(fits).count();
        let more = causes.len() - named;
        causes.truncate(named);
        let mut lines: Vec<String> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let list = match lines.len() {
            1 => lines.remove(0),
            _ => format!("[{}]", lines.join(", ")),
        };
        let mut status = Self::new(Reason::Invalid, format!("{kind} \"{name}\" is invalid: {list}"));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        status.details =
            Details { name: name.to_owned(), group: group.to_owned(), kind: kind.to_owned(), causes, ..Details::default() };
        status
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// Names the object that the status is about.
    #[must_use]
    pub fn about(mut self, resource: &crate::GroupResource, name: &str) -> Self {
        self.details.name = name.to_owned();
        self.details.group = resource.group.to_string();
        self.details.kind = resource.resource.to_string();
        self
    }

    pub fn is(&self, reason: Reason) -> bool {
        self.reason == reason
    }

    /// The body of the response: a complete `v1.Status` object.
    pub fn to_json(&self) -> serde_json::Value {
        let mut metadata = serde_json::Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".to_owned(), token.as_str().into());
        }
        let mut status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "details": self.details, "code": self.code,
        });
        if self.reason != Reason::Unknown {
            status["reason"] = serde_json::json!(self.reason);
        }
        status
    }
}
