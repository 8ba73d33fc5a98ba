//! `v1.DeleteOptions` as they come: in the query, in the body of a delete, in an eviction.

use mizzen_api::{Status, validate};
use mizzen_client::{DeleteOptions, Propagation};
use serde_json::Value;

use crate::errors;

pub(crate) const DELETE_OPTIONS: &str = "DeleteOptions";

pub(crate) fn parse_dry_run<'a>(kind: &str, values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        match value {
            "All" => dry = true,
            other => errors::options(kind, vec![validate::not_supported("dryRun", other, &["All"])])?,
        }
    }
    Ok(dry)
}

pub(crate) fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, Status> {
    const FIELD: &str = "propagationPolicy";
    match (policy, orphan) {
        (Some(policy), Some(_)) if !policy.is_empty() => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors::options(DELETE_OPTIONS, vec![validate::invalid_text(FIELD, policy, why)]).map(|()| None)
        }
        (Some("Orphan"), _) | (None, Some(true)) => Ok(Some(Propagation::Orphan)),
        (Some("Background"), _) | (None, Some(false)) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), _) => Ok(Some(Propagation::Foreground)),
        (None | Some(""), _) => Ok(None),
        (Some(other), _) => {
            let causes = vec![validate::not_supported(FIELD, other, &["Foreground", "Background", "Orphan", "nil"])];
            errors::options(DELETE_OPTIONS, causes).map(|()| None)
        }
    }
}

/// Takes over what a body says, before what the query said.
///
/// # Errors
/// `BadRequest` or `Invalid` for what is no `DeleteOptions`.
pub(crate) fn take_body(body: &Value, options: &mut DeleteOptions) -> Result<(), Status> {
    if body.is_null() {
        return Ok(());
    }
    let kind = body.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" || !body.is_object() {
        return Err(Status::bad_request(format!("the body of a delete must be DeleteOptions, not {kind}")));
    }
    if let Some(grace) = body.get("gracePeriodSeconds").filter(|value| !value.is_null()) {
        let seconds = grace.as_i64().ok_or_else(|| Status::bad_request("gracePeriodSeconds must be a number"))?;
        options.grace_period_seconds = Some(seconds);
    }
    let given = propagation(
        body.get("propagationPolicy").and_then(Value::as_str),
        body.get("orphanDependents").and_then(Value::as_bool),
    )?;
    options.propagation = given.or(options.propagation);
    let precondition =
        |field: &str| body.get("preconditions").and_then(|all| all.get(field)).and_then(Value::as_str).map(str::to_owned);
    options.uid = precondition("uid");
    options.resource_version = precondition("resourceVersion");
    let dry_run = body.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    options.dry_run |= parse_dry_run(DELETE_OPTIONS, dry_run)?;
    Ok(())
}
