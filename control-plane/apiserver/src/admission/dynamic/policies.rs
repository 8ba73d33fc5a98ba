//! Asking policies.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::schema::{Problem, check};
use mizzen_api::status::Cause;
use mizzen_api::{GroupVersion, Reason, Status};
use mizzen_apply::{json_patch, managed};
use mizzen_extensions::cel::Scope;
use mizzen_extensions::policy::{Denial, Met, Mutation, Patch, Policy};
use serde_json::{Value, json};

use super::bindings::Binding;
use super::request::Request;
use super::snapshot::Bound;
use crate::admission::{Attributes, Operation};
use crate::audit;

/// The audit annotation of validations that failed where a binding only notes it.
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";

pub(super) async fn validate(policies: &[Arc<Bound>], request: &Request<'_>) -> Result<(), Status> {
    let mut denied = None;
    let (mut failures, mut annotations) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
    for Bound { policy, bindings } in policies.iter().map(AsRef::as_ref) {
        let Some(form) = request.matched(&policy.matching) else { continue };
        let mut documents = None;
        for binding in bindings.iter().filter(|binding| request.matched(&binding.matching).is_some()) {
            if documents.is_none() {
                documents = Some(request.documents(&form).await?);
            }
            let Some(documents) = &documents else { continue };
            let Asked { denials, noted } = ask(policy, binding, request, documents);
            for (key, value) in noted {
                let values = annotations.entry(format!("{}/{key}", policy.name)).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            for denial in denials {
                if binding.warns {
                    let (policy, binding) = (&policy.name, &binding.name);
                    request.attributes.warnings.add(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {}",
                        denial.message
                    ));
                }
                if binding.audits {
                    failures.push(json!({"message": denial.message, "policy": policy.name, "binding": binding.name,
                        "expressionIndex": denial.index, "validationActions": binding.actions()}));
                }
                if binding.denies && denied.is_none() {
                    denied = Some(refusal(request.attributes, "ValidatingAdmissionPolicy", policy, binding, &denial));
                }
            }
        }
    }
    if !failures.is_empty() {
        audit::annotate(FAILURES, || Value::Array(failures).to_string());
    }
    for (key, values) in annotations {
        audit::annotate(&key, || values.join(", "));
    }
    denied.map_or(Ok(()), Err)
}

/// What a policy has to say about a request.
#[derive(Default)]
struct Asked {
    denials: Vec<Denial>,
    /// Keys and values of audit annotations.
    noted: Vec<(String, String)>,
}

fn ask(policy: &Policy, binding: &Binding, request: &Request<'_>, documents: &Scope) -> Asked {
    let failed = |error: String| match policy.ignores_failures {
        true => Vec::new(),
        false => vec![Denial::because(error)],
    };
    let mut noted = Vec::new();
    let parameters = match binding.parameters(policy.param_kind.as_ref(), request) {
        Ok(parameters) => parameters,
        Err(error) => return Asked { denials: failed(error), noted },
    };
    let mut denials = Vec::new();
    for parameter in parameters {
        let mut scope = documents.clone();
        scope.set("params", parameter.as_ref());
        match policy.conditions.met(&mut scope) {
            Met::Yes => {
                policy.define_variables(&mut scope);
                denials.extend(policy.denials(&mut scope));
                for annotation in &policy.audit_annotations {
                    match annotation.value(&mut scope) {
                        Ok(Some(value)) => noted.push((annotation.key.clone(), value)),
                        Ok(None) => {}
                        Err(error) => denials.extend(failed(error)),
                    }
                }
            }
            Met::No => {}
            Met::Failed(error) => denials.extend(failed(error)),
        }
    }
    Asked { denials, noted }
}

fn refusal(attributes: &Attributes<'_>, kind: &str, policy: &Policy, binding: &Binding, denial: &Denial) -> Status {
    let (policy, binding) = (&policy.name, &binding.name);
    let message = format!("{kind} '{policy}' with binding '{binding}' denied request: {}", denial.message);
    let mut status = attributes.forbid(&message);
    status.reason = match denial.reason.as_deref() {
        Some("Forbidden") => Reason::Forbidden,
        Some("Unauthorized") => Reason::Unauthorized,
        Some("RequestEntityTooLarge") => Reason::RequestEntityTooLarge,
        _ => Reason::Invalid,
    };
    status.code = status.reason.code();
    status.details.causes.push(Cause { message, ..Cause::default() });
    status
}

/// Lets one policy change the document.
pub(super) async fn mutate(bound: &Bound, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
    let policy = &bound.policy;
    for binding in &bound.bindings {
        let (form, parameters) = {
            let request = Request::new(attributes, Some(object));
            let Some(form) = request.matched(&policy.matching) else { continue };
            if request.matched(&binding.matching).is_none() {
                continue;
            }
            (form, binding.parameters(policy.param_kind.as_ref(), &request))
        };
        let refuse = |error: String| match policy.ignores_failures {
            true => Ok(()),
            false => Err(refusal(attributes, "MutatingAdmissionPolicy", policy, binding, &Denial::because(error))),
        };
        let parameters = match parameters {
            Ok(parameters) => parameters,
            Err(error) => {
                refuse(error)?;
                continue;
            }
        };
        for parameter in parameters {
            let request = Request::new(attributes, Some(object));
            match mutated(policy, &request, &form, parameter.as_ref()).await? {
                Ok(None) => {}
                Ok(Some(changed)) => *object = changed,
                Err(error) => refuse(error)?,
            }
        }
    }
    Ok(())
}

/// Runs the mutations one after the other, each on what the one before left. They see the form that the policy is about, and what
/// they make of it is brought back into the form that is stored.
async fn mutated(
    policy: &Policy,
    request: &Request<'_>,
    form: &GroupVersion,
    parameter: Option<&Value>,
) -> Result<Result<Option<Value>, String>, Status> {
    let Some(object) = request.object else { return Ok(Ok(None)) };
    let mut scope = request.documents(form).await?;
    scope.set("params", parameter);
    match policy.conditions.met(&mut scope) {
        Met::Yes => {}
        Met::No => return Ok(Ok(None)),
        Met::Failed(error) => return Ok(Err(error)),
    }
    policy.define_variables(&mut scope);
    let mut shown = request.in_form(form, object).await?.into_owned();
    for mutation in &policy.mutations {
        if let Err(error) = apply(mutation, &mut scope, request, form, &mut shown) {
            return Ok(Err(error));
        }
        scope.set("object", Some(&shown));
    }
    request.back(form, shown).await.map(|changed| Ok(Some(changed)))
}

fn apply(
    mutation: &Mutation,
    scope: &mut Scope,
    request: &Request<'_>,
    form: &GroupVersion,
    object: &mut Value,
) -> Result<(), String> {
    let attributes = request.attributes;
    match mutation.patch(scope)? {
        Patch::Json(patch) => json_patch::apply(object, &patch).map_err(|error| error.to_string()),
        Patch::Apply(mut configuration) => {
            if attributes.operation == Operation::Connect {
                // Options have no owners of fields, and no schema to merge by.
                return Err("an apply configuration cannot change the options of a stream".to_owned());
            }
            if !configuration.is_object() {
                return Err("an apply configuration must be an object".to_owned());
            }
            let schemas = attributes.registry.schemas();
            let descriptor = request.served(form).unwrap_or_else(|| attributes.target.descriptor.clone());
            let of_part = request.own_kind().and_then(|kind| schemas.name_of(kind));
            let schema = of_part.unwrap_or_else(|| descriptor.schema_of(&form.version));
            let api_version = request.own_kind().map_or_else(|| form.clone(), |kind| kind.group_version()).to_string();
            configuration["apiVersion"] = json!(api_version);
            configuration["kind"] = json!(request.kind());
            let problems = match of_part {
                None => descriptor.strategy.problems(&configuration),
                Some(_) => None,
            };
            declared(&problems.unwrap_or_else(|| check(&schemas, schema, &configuration)))?;
            // Nobody owns what a policy sets: the merge is done as by one who owns nothing, and the owners stay as they are.
            let owners = take_owners(object);
            let context = managed::Context {
                set: &schemas,
                schema,
                api_version: &api_version,
                manager: "admission",
                subresource: attributes.subresource(),
                reset: &[],
                versions: None,
                now: jiff::Timestamp::UNIX_EPOCH,
            };
            let mut merged =
                managed::apply(&context, Some(object), &configuration, true).map_err(|error| error.to_status().message)?;
            take_owners(&mut merged);
            if let (Some(owners), Some(metadata)) = (owners, merged.get_mut("metadata").and_then(Value::as_object_mut)) {
                metadata.insert("managedFields".to_owned(), owners);
            }
            *object = merged;
            Ok(())
        }
    }
}

/// # Errors
/// When a configuration has fields that the kind has not, or values of other types: nothing is merged then.
fn declared(problems: &[Problem]) -> Result<(), String> {
    let told: Vec<String> = problems
        .iter()
        .map(|problem| match problem {
            Problem::Unknown(path) => format!(".{path}: field not declared in schema"),
            other => other.to_string(),
        })
        .collect();
    match told.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("error applying patch: failed to convert patch object to typed object: {one}")),
        many => {
            Err(format!("error applying patch: failed to convert patch object to typed object: errors:\n  {}", many.join("\n  ")))
        }
    }
}

fn take_owners(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}
