//! Admission webhooks: who is asked, and what their answers do.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mizzen_api::{GroupVersion, Status};
use mizzen_apply::json_patch;
use mizzen_extensions::matching::Matching;
use mizzen_extensions::policy::{Conditions, Met};
use serde_json::Value;

use super::calls::Outcome;
use super::request::Request;
use super::review;
use super::turn::Turn;
use crate::{audit, waited};

pub(super) struct Hook {
    pub(super) name: String,
    /// The name of the configuration that it stands in.
    pub(super) configuration: Arc<str>,
    pub(super) client: Value,
    pub(super) timeout_seconds: u64,
    /// `admission.k8s.io/…`, the first of the versions that both sides know.
    pub(super) review_version: &'static str,
    matching: Matching,
    conditions: Conditions,
    ignores_failures: bool,
    pub(super) is_reinvoked: bool,
    pub(super) is_mutating: bool,
}

impl Hook {
    pub(super) fn parse(configuration: &Arc<str>, document: &Value, is_mutating: bool) -> Self {
        let mut versions = document["admissionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self {
            name: document["name"].as_str().unwrap_or_default().to_owned(),
            configuration: configuration.clone(),
            client: document["clientConfig"].clone(),
            timeout_seconds: document["timeoutSeconds"].as_u64().unwrap_or(10),
            review_version: match versions.find(|version| ["v1", "v1beta1"].contains(version)) {
                Some("v1beta1") => "admission.k8s.io/v1beta1",
                _ => review::V1,
            },
            matching: Matching::parse(document, "rules", false),
            conditions: Conditions::parse(document),
            ignores_failures: document["failurePolicy"] == "Ignore",
            is_reinvoked: document["reinvocationPolicy"] == "IfNeeded",
            is_mutating,
        }
    }

    /// The form in which the webhook is asked about the request, if it is.
    async fn asked(&self, request: &Request<'_>, turn: Turn<'_>) -> Result<Option<GroupVersion>, Status> {
        let Some(form) = request.matched(&self.matching) else { return Ok(None) };
        if self.conditions.is_empty() {
            return Ok(Some(form));
        }
        let mut documents = request.documents(&form).await?;
        match self.conditions.met(&mut documents) {
            Met::Yes => Ok(Some(form)),
            Met::No => {
                self.count(request, turn, Outcome::LeftOut, None);
                Ok(None)
            }
            Met::Failed(error) if self.ignores_failures => {
                self.count(request, turn, Outcome::Unclear, None);
                tracing::warn!(webhook = self.name, error, "match conditions failed; the webhook is not asked");
                Ok(None)
            }
            Met::Failed(error) => {
                self.count(request, turn, Outcome::Unclear, None);
                Err(request.attributes.forbid(&error))
            }
        }
    }

    fn count(&self, request: &Request<'_>, turn: Turn<'_>, outcome: Outcome, took: Option<Duration>) {
        turn.calls.count(self, request.attributes.operation, outcome, took);
    }

    /// The answer; `None` where none is needed.
    ///
    /// # Errors
    /// When the webhook refuses, or fails and may not.
    async fn answer(&self, request: &Request<'_>, form: &GroupVersion, turn: Turn<'_>) -> Result<Option<Value>, Status> {
        let began = Instant::now();
        let asked = review::ask(self, request, form).await?;
        let count = |outcome| self.count(request, turn, outcome, Some(began.elapsed()));
        let response = match asked {
            Ok(response) => response,
            Err(error) if self.ignores_failures => {
                count(Outcome::FailedOpen);
                tracing::warn!(webhook = self.name, error, "failed calling webhook, failing open");
                turn.failed_open(self);
                return Ok(None);
            }
            Err(error) => {
                count(Outcome::Failed);
                return Err(self.failed(&error));
            }
        };
        for warning in response["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            request.attributes.warnings.add(warning.to_owned());
        }
        for (key, value) in response["auditAnnotations"].as_object().into_iter().flatten() {
            if let Some(value) = value.as_str() {
                audit::annotate(&format!("{}/{key}", self.name), || value.to_owned());
            }
        }
        match response["allowed"].as_bool() {
            Some(true) => {
                count(Outcome::Allowed);
                Ok(Some(response))
            }
            _ => {
                let refusal = review::refusal(&format!("webhook {:?}", self.name), &response["status"], 400);
                count(Outcome::Refused { code: refusal.code });
                Err(refusal)
            }
        }
    }

    fn failed(&self, error: &str) -> Status {
        Status::internal(format!("failed calling webhook {:?}: {error}", self.name))
    }
}

pub(super) async fn validate(hook: &Hook, request: &Request<'_>, turn: Turn<'_>) -> Result<(), Status> {
    match hook.asked(request, turn).await? {
        Some(form) => hook.answer(request, &form, turn).await.map(drop),
        None => Ok(()),
    }
}

/// The document as the webhook wants it; `None` when it is to stay as it is.
pub(super) async fn mutate(hook: &Hook, request: &Request<'_>, turn: Turn<'_>) -> Result<Option<Value>, Status> {
    let Some(form) = hook.asked(request, turn).await? else { return Ok(None) };
    let Some(response) = waited::for_others(hook.answer(request, &form, turn)).await? else { return Ok(None) };
    let (Some(patch), Some(object)) = (response["patch"].as_str().filter(|patch| !patch.is_empty()), request.object) else {
        turn.answered(hook, false, None);
        return Ok(None);
    };
    // The webhook was reached and has allowed the request: `failurePolicy` is not about what it made of it.
    let wrong = |why: String| {
        hook.count(request, turn, Outcome::Broken, None);
        Status::internal(format!("the patch of admission webhook {:?}: {why}", hook.name))
    };
    let patch = STANDARD.decode(patch).ok().and_then(|patch| serde_json::from_slice::<Value>(&patch).ok());
    let patch = patch.ok_or_else(|| wrong("it is no JSON".to_owned()))?;
    let shown = request.in_form(&form, object).await?;
    let mut changed = shown.clone().into_owned();
    json_patch::apply(&mut changed, &patch).map_err(|error| wrong(error.to_string()))?;
    turn.answered(hook, changed != *shown, Some(&patch));
    request.back(&form, changed).await.map(Some)
}

/// What a webhook is told of a document.
pub(super) async fn shown(request: &Request<'_>, form: &GroupVersion, document: Option<&Value>) -> Result<Value, Status> {
    Ok(match document {
        Some(document) => request.in_form(form, document).await.map(Cow::into_owned)?,
        None => Value::Null,
    })
}
