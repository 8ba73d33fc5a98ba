//! A policy's cases.

use std::sync::Arc;

use mizzen_plugins_host::policy::{Decision, PolicyPlugin, Request, Response};
use mizzen_plugins_host::{Artifact, PluginOptions};
use serde::Deserialize;
use serde_json::Value;

use super::{Case, Table, lacks, loaded};
use crate::error::ToolkitError;
use crate::recorded::{Objects, request};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expect {
    allowed: Option<bool>,
    /// A part of why it is denied.
    message: Option<String>,
    code: Option<u16>,
    /// A part of each warning.
    #[serde(default)]
    warnings: Vec<String>,
    /// What the object must hold after the change; without it, it must not be changed.
    object: Option<Value>,
    /// A part of what is said of the settings.
    settings_error: Option<String>,
}

pub(super) fn run(artifact: &Artifact, table: &Table, case: &Case) -> Result<Option<String>, ToolkitError> {
    let expect: Expect = table.expectation(case)?;
    let plugin = match loaded(PolicyPlugin::load(artifact, table.options(case)), expect.settings_error.as_deref()) {
        Ok(Some(plugin)) => plugin,
        Ok(None) => return Ok(None),
        Err(failure) => return Ok(Some(failure)),
    };
    let (question, context) = question(table, case)?;
    plugin.follow(Arc::new(context));
    Ok(match plugin.review(&question) {
        Ok(response) => wrong(&expect, &question, &response),
        Err(error) => Some(error.to_string()),
    })
}

/// Every request of a table with the plugin that it is put to; for measuring.
pub(crate) fn questions(table: &Table) -> Result<Vec<(PluginOptions, Objects, Request)>, ToolkitError> {
    let asks = table.cases.iter().filter(|case| case.request.is_some());
    let each = |case: &Case| question(table, case).map(|(request, context)| (table.options(case), context, request));
    asks.map(each).collect()
}

fn question(table: &Table, case: &Case) -> Result<(Request, Objects), ToolkitError> {
    let Some(recorded) = &case.request else { return Err(table.wrong(format!("{}: there is no request", case.name))) };
    let context = table.objects(case.context.as_ref(), table.context.as_ref())?;
    Ok((request(recorded.read(table.folder())?), Objects(context)))
}

fn wrong(expect: &Expect, question: &Request, response: &Response) -> Option<String> {
    let denied = match &response.decision {
        Decision::Deny(status) => Some(status),
        _ => None,
    };
    let expected = expect.allowed.unwrap_or(expect.message.is_none() && expect.code.is_none());
    match denied {
        Some(status) if expected => return Some(format!("denied: {}", status.message)),
        None if !expected => return Some("allowed, and should be denied".to_owned()),
        _ => {}
    }
    if let Some(status) = denied {
        let part = expect.message.as_deref().unwrap_or_default();
        if !status.message.contains(part) {
            return Some(format!("the message is {:?} and should contain {part:?}", status.message));
        }
        let code = if status.code == 0 { 403 } else { status.code };
        if let Some(wanted) = expect.code.filter(|wanted| *wanted != code) {
            return Some(format!("the code is {code} and should be {wanted}"));
        }
    }
    let as_wanted = |(given, part): (&String, &String)| given.contains(part);
    if response.warnings.len() != expect.warnings.len() || !response.warnings.iter().zip(&expect.warnings).all(as_wanted) {
        return Some(format!("the warnings are {:?} and should be {:?}", response.warnings, expect.warnings));
    }
    match (changed(question, &response.decision), &expect.object) {
        (Err(why), _) => Some(why),
        (Ok(Some(object)), Some(wanted)) => lacks(&object, wanted, "object"),
        (Ok(Some(object)), None) => Some(format!("the object was changed, to {object}")),
        (Ok(None), Some(wanted)) => {
            let object = question.object.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null);
            lacks(&object, wanted, "object")
        }
        (Ok(None), None) => None,
    }
}

/// The object after the policy's change, where it makes one.
fn changed(question: &Request, decision: &Decision) -> Result<Option<Value>, String> {
    let parse = |what: &str, json: &str| serde_json::from_str(json).map_err(|error| format!("the {what} is not JSON: {error}"));
    match decision {
        Decision::Allow | Decision::Deny(_) => Ok(None),
        Decision::Replace(object) => parse("changed object", object).map(Some),
        Decision::Patch(patch) => {
            let patch = parse("patch", patch)?;
            let mut object = parse("object", question.object.as_deref().unwrap_or("null"))?;
            mizzen_apply::json_patch::apply(&mut object, &patch).map_err(|error| format!("the patch {patch} fails: {error}"))?;
            Ok(Some(object))
        }
    }
}
