//! Admission policies that are Wasm components (`mizzen.dev`): when they are asked, and what their answers do.

use std::sync::Arc;

use mizzen_api::{GroupVersion, ObjectRef, Reason, Status};
use mizzen_apply::json_patch;
use mizzen_extensions::matching::Matching;
use mizzen_extensions::plugins::{self, Answer, Decision, Denial, Forms, Named, Policies, Review, User};
use mizzen_extensions::policy::{Conditions, Met};
use serde_json::{Value, json};

use super::audit::Finding;
use super::metrics::{Counts, one};
use super::panel::{self, Question};
use super::request::Request;
use super::review;
use crate::admission::Operation;
use crate::audit;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Enforce,
    Warn,
    Audit,
}

impl Mode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

/// One object, as requests use it.
pub(super) struct Plugin {
    host: Arc<dyn Policies>,
    pub(super) object: ObjectRef,
    pub(super) uid: String,
    spec: Value,
    pub(super) matching: Matching,
    conditions: Conditions,
    pub(super) mode: Mode,
    ignores_failures: bool,
    pub(super) is_mutating: bool,
    pub(super) is_reinvoked: bool,
    /// Whether it may be asked about objects of its own group.
    is_for_plugins: bool,
    /// Once something was loaded, a server that has lost it must not let everything pass.
    pub(super) was_loaded: bool,
    /// Whether it is asked about what is stored.
    pub(super) audits: bool,
    /// What reports say of it; may be empty.
    pub(super) severity: String,
    pub(super) category: String,
    pub(super) counts: Arc<Counts>,
}

impl Plugin {
    /// `counts` are those of the same object before it changed.
    pub(super) fn parse(document: Value, host: Arc<dyn Policies>, counts: Arc<Counts>) -> Self {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let spec = &document["spec"];
        let matching = Matching::parse(&spec["matchConstraints"], "resourceRules", false);
        Self {
            host,
            object: ObjectRef::new(text("/metadata/namespace"), text("/metadata/name")),
            uid: text("/metadata/uid"),
            conditions: Conditions::parse(spec),
            mode: match spec["mode"].as_str() {
                Some("warn") => Mode::Warn,
                Some("audit") => Mode::Audit,
                _ => Mode::Enforce,
            },
            ignores_failures: spec["failurePolicy"] == "Ignore",
            is_mutating: spec["mutating"] == true,
            is_reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            is_for_plugins: spec["matchPluginObjects"] == true && matching.names_group(plugins::GROUP),
            was_loaded: was_loaded(&document),
            audits: spec["backgroundAudit"] != false,
            severity: text("/spec/severity"),
            category: text("/spec/category"),
            matching,
            spec: spec.clone(),
            counts,
        }
    }

    /// Whether the object says the same as before, whatever its status counts.
    pub(super) fn is_of(&self, document: &Value) -> bool {
        self.spec == document["spec"] && self.was_loaded == was_loaded(document) && document["metadata"]["uid"] == self.uid
    }

    fn name(&self) -> &str {
        &self.object.name
    }

    /// How messages call it.
    fn title(&self) -> String {
        match self.object.namespace.as_str() {
            "" => format!("policy {:?}", self.name()),
            namespace => format!("policy {:?}", format!("{namespace}/{}", self.name())),
        }
    }

    /// What is loaded for the object, while there is something.
    pub(super) fn policy(&self) -> Option<Arc<dyn plugins::Policy>> {
        self.host.find(&self.object)
    }

    fn is_about(&self, request: &Request<'_>) -> bool {
        (request.attributes.group() != plugins::GROUP || self.is_for_plugins && !ends_a_guard(request))
            && (self.object.namespace.is_empty() || self.object.namespace == request.attributes.namespace())
    }

    /// The form in which the policy is asked about the request, if it is.
    pub(super) async fn asked(&self, request: &Request<'_>) -> Result<Option<GroupVersion>, Failure> {
        if !self.is_about(request) {
            return Ok(None);
        }
        let Some(form) = request.matched(&self.matching) else { return Ok(None) };
        if self.conditions.is_empty() {
            return Ok(Some(form));
        }
        match self.conditions.met(&mut request.documents(&form).await?) {
            Met::Yes => Ok(Some(form)),
            Met::No => Ok(None),
            Met::Failed(error) => Err(Failure::Policy(error)),
        }
    }

    /// What the policy is asked, and in which form; `None` where it is not asked.
    async fn question(
        self: &Arc<Self>,
        request: &Request<'_>,
        asking: &mut Asking,
    ) -> Result<Option<(GroupVersion, Question)>, Failure> {
        let Some(form) = self.asked(request).await? else { return Ok(None) };
        let policy = match self.policy() {
            Some(policy) => policy,
            None if self.was_loaded => return Err(Failure::Policy(NOT_LOADED.to_owned())),
            None => return Ok(None),
        };
        let review = asking.review(request, &form).await?;
        Ok(Some((form, Question { plugin: self.clone(), policy, review })))
    }

    /// Whether the request is refused for this, whatever other policies say.
    pub(super) fn refuses(&self, answer: &Result<Answer, String>) -> bool {
        match answer.as_ref().map(|answer| &answer.decision) {
            Ok(Decision::Allow) => false,
            Ok(Decision::Deny(_)) => self.mode == Mode::Enforce,
            Ok(Decision::Patch(_) | Decision::Replace(_)) | Err(_) => self.fails_closed(),
        }
    }

    fn fails_closed(&self) -> bool {
        self.mode == Mode::Enforce && !self.ignores_failures
    }

    /// What the client is told, and the audit log, of a policy that failed; an error where that refuses the request.
    fn failed(&self, failure: Failure, request: &Request<'_>) -> Result<(), Status> {
        let error = match failure {
            Failure::Policy(error) => error,
            Failure::Request(status) => return Err(status),
        };
        one(&self.counts.failed);
        let said = format!("failed calling admission {}: {error}", self.title());
        if self.ignores_failures {
            tracing::warn!(policy = self.title(), error, "failed calling an admission policy, failing open");
            return Ok(());
        }
        self.object_to(Status::internal(said), request)
    }

    fn denied(&self, denial: &Denial, request: &Request<'_>) -> Result<(), Status> {
        one(&self.counts.denied);
        let Denial { code, reason, message } = denial;
        let result = json!({"code": code, "reason": reason, "message": message});
        let mut refusal = review::refusal(&self.title(), &result, 403);
        if reason.is_empty() && refusal.reason == Reason::Unknown {
            refusal.reason = usual_reason(refusal.code);
        }
        self.object_to(refusal, request)
    }

    /// Refuses, or only says so.
    fn object_to(&self, refusal: Status, request: &Request<'_>) -> Result<(), Status> {
        match self.mode {
            Mode::Enforce => return Err(refusal),
            Mode::Warn => request.attributes.warnings.add(refusal.message),
            Mode::Audit => audit::annotate(&format!("{}/denied", self.name()), || refusal.message),
        }
        Ok(())
    }

    /// What becomes of the request by the answer of a policy that only looks; a failure where it is none that such a policy may give.
    fn judged(&self, mut answer: Answer, request: &Request<'_>) -> Result<Option<Failure>, Status> {
        self.tell(&mut answer, request);
        match answer.decision {
            Decision::Allow => one(&self.counts.allowed),
            Decision::Deny(denial) => self.denied(&denial, request)?,
            Decision::Patch(_) | Decision::Replace(_) => return Ok(Some(Failure::Policy(UNANNOUNCED.to_owned()))),
        }
        Ok(None)
    }

    fn tell(&self, answer: &mut Answer, request: &Request<'_>) {
        for warning in answer.warnings.drain(..) {
            request.attributes.warnings.add(warning);
        }
        for (key, value) in answer.audit_annotations.drain(..) {
            audit::annotate(&format!("{}/{key}", self.name()), || value);
        }
    }

    /// The document as the policy wants it, from its answer.
    async fn changed(&self, decision: Decision, form: &GroupVersion, request: &Request<'_>) -> Result<Option<Value>, Failure> {
        let wrong = |why: &dyn std::fmt::Display| Failure::Policy(why.to_string());
        // A deletion has no document to change.
        let Some(object) = request.object else { return Ok(None) };
        let changed = match decision {
            Decision::Allow | Decision::Deny(_) => return Ok(None),
            Decision::Patch(patch) => {
                let patch =
                    serde_json::from_str(&patch).map_err(|error| wrong(&format!("its patch is no JSON patch: {error}")))?;
                let mut changed = request.in_form(form, object).await?.into_owned();
                json_patch::apply(&mut changed, &patch).map_err(|error| wrong(&error))?;
                changed
            }
            Decision::Replace(text) => {
                serde_json::from_str::<Value>(&text).map_err(|error| wrong(&format!("its object is no JSON: {error}")))?
            }
        };
        let shown = request.in_form(form, object).await?;
        for field in ["apiVersion", "kind"] {
            if changed[field] != shown[field] {
                return Err(wrong(&format!("it changed {field}")));
            }
        }
        Ok(Some(request.back(form, changed).await?))
    }

    /// What an audit makes of an answer about what is stored. Nothing is changed: what would be is worth a warning.
    pub(super) async fn finding(&self, answer: Result<Answer, String>, form: &GroupVersion, request: &Request<'_>) -> Finding {
        let Answer { decision, warnings, .. } = match answer {
            Ok(answer) => answer,
            Err(error) => return Finding::error(error),
        };
        match decision {
            Decision::Allow if warnings.is_empty() => Finding::pass(),
            Decision::Allow => Finding::warn(warnings.join("; ")),
            Decision::Deny(denial) if denial.message.is_empty() => Finding::fail("denied without explanation"),
            Decision::Deny(denial) => Finding::fail(denial.message),
            Decision::Patch(_) | Decision::Replace(_) if !self.is_mutating => Finding::error(UNANNOUNCED),
            change => match self.changed(change, form, request).await {
                Ok(changed) if changed.as_ref().is_some_and(|changed| Some(changed) != request.object) => {
                    Finding::warn("the policy would change the object")
                }
                Ok(_) => Finding::pass(),
                Err(failure) => failure.into(),
            },
        }
    }
}

pub(super) const NOT_LOADED: &str = "it is not loaded";
const NO_ANSWER: &str = "its review broke down";
const UNANNOUNCED: &str = "it answered with changes, and its object does not say that it is mutating";

/// Whether a policy goes that is asked about policies itself. None may keep it from that, or two of them could never be removed.
fn ends_a_guard(request: &Request<'_>) -> bool {
    let Some(old) = request.attributes.old.filter(|old| old["spec"]["matchPluginObjects"] == true) else { return false };
    request.attributes.operation == Operation::Delete || !old["metadata"]["deletionTimestamp"].is_null()
}

fn was_loaded(document: &Value) -> bool {
    document.pointer("/status/digest").and_then(Value::as_str).is_some_and(|digest| !digest.is_empty())
}

/// Why there is no answer.
pub(super) enum Failure {
    /// The policy's own doing.
    Policy(String),
    /// The request cannot be shown to it.
    Request(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Request(status)
    }
}

/// The request in a policy's terms, written once for all policies that see the same.
#[derive(Default)]
pub(super) struct Asking(Option<(GroupVersion, Arc<Review>)>);

impl Asking {
    async fn review(&mut self, request: &Request<'_>, form: &GroupVersion) -> Result<Arc<Review>, Status> {
        if let Some((of, review)) = &self.0
            && of == form
        {
            return Ok(review.clone());
        }
        let review = Arc::new(describe(request, form).await?);
        self.0 = Some((form.clone(), review.clone()));
        Ok(review)
    }
}

pub(super) async fn describe(request: &Request<'_>, form: &GroupVersion) -> Result<Review, Status> {
    let attributes = request.attributes;
    let named = |name: &str| Named { group: form.group.to_string(), version: form.version.to_string(), name: name.to_owned() };
    let who = attributes.identity;
    Ok(Review {
        uid: crate::uid::new(),
        kind: named(request.kind()),
        resource: named(attributes.resource()),
        subresource: Some(attributes.subresource()).filter(|name| !name.is_empty()).map(str::to_owned),
        name: attributes.name().to_owned(),
        namespace: request.namespace().to_owned(),
        operation: match attributes.operation {
            Operation::Create => plugins::Operation::Create,
            Operation::Update => plugins::Operation::Update,
            Operation::Delete => plugins::Operation::Delete,
            Operation::Connect => plugins::Operation::Connect,
        },
        user: User {
            name: who.username.clone(),
            uid: who.uid.clone(),
            groups: who.groups.clone(),
            extra: who.extra.iter().map(|(key, values)| (key.clone(), values.clone())).collect(),
        },
        dry_run: attributes.dry_run,
        object: text(request, form, request.object).await?,
        old_object: text(request, form, attributes.old).await?,
        options: request.options().map(|options| options.to_string()),
        forms: Forms::default(),
    })
}

async fn text(request: &Request<'_>, form: &GroupVersion, document: Option<&Value>) -> Result<Option<String>, Status> {
    Ok(match document {
        Some(document) => Some(request.in_form(form, document).await?.to_string()),
        None => None,
    })
}

/// Asks every policy that only looks; the first that refuses decides.
pub(super) async fn validate(policies: &[Arc<Plugin>], request: &Request<'_>) -> Result<(), Status> {
    let mut asking = Asking::default();
    let (mut asked, mut questions) = (Vec::new(), Vec::new());
    for policy in policies {
        match policy.question(request, &mut asking).await {
            Ok(None) => {}
            Ok(Some((_, question))) => {
                questions.push(question);
                asked.push((policy, None));
            }
            Err(failure) => {
                asked.push((policy, Some(failure)));
                if policy.fails_closed() {
                    break;
                }
            }
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let mut answers = panel::ask(questions).await.into_iter();
    for (policy, failure) in asked {
        let failure = match failure {
            Some(failure) => failure,
            None => match answers.next().flatten() {
                Some(Ok(answer)) => match policy.judged(answer, request)? {
                    Some(failure) => failure,
                    None => continue,
                },
                Some(Err(error)) => Failure::Policy(error),
                None => Failure::Policy(NO_ANSWER.to_owned()),
            },
        };
        policy.failed(failure, request)?;
    }
    Ok(())
}

/// The document as the policy wants it; `None` when it is to stay as it is.
pub(super) async fn mutate(policy: &Arc<Plugin>, request: &Request<'_>, asking: &mut Asking) -> Result<Option<Value>, Status> {
    let answer = match policy.question(request, asking).await {
        Ok(None) => return Ok(None),
        Ok(Some((form, Question { policy, review, .. }))) => {
            policy.review(&review).await.map(|answer| (form, answer)).map_err(Failure::Policy)
        }
        Err(failure) => Err(failure),
    };
    let failure = match answer {
        Ok((form, mut answer)) => {
            policy.tell(&mut answer, request);
            if let Decision::Deny(denial) = &answer.decision {
                return policy.denied(denial, request).map(|()| None);
            }
            let changed = policy.changed(answer.decision, &form, request).await;
            match &changed {
                Ok(Some(_)) => one(&policy.counts.changed),
                Ok(None) => one(&policy.counts.allowed),
                Err(_) => {}
            }
            match changed {
                Ok(Some(_)) if policy.mode == Mode::Audit => {
                    audit::annotate(&format!("{}/changed", policy.name()), || "true".to_owned());
                    return Ok(None);
                }
                Ok(Some(_)) if policy.mode == Mode::Warn => {
                    let said = format!("admission {} would change the request", policy.title());
                    request.attributes.warnings.add(said);
                    return Ok(None);
                }
                Ok(changed) => return Ok(changed),
                Err(failure) => failure,
            }
        }
        Err(failure) => failure,
    };
    policy.failed(failure, request).map(|()| None)
}

/// What a refusal is for that says a code only.
fn usual_reason(code: u16) -> Reason {
    match code {
        400 => Reason::BadRequest,
        403 => Reason::Forbidden,
        404 => Reason::NotFound,
        409 => Reason::Conflict,
        422 => Reason::Invalid,
        500 => Reason::InternalError,
        _ => Reason::Unknown,
    }
}
