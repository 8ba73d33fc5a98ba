//! Query parameters, and `v1.DeleteOptions` bodies.

use mizzen_api::{Status, validate};
use mizzen_client::{DeleteOptions, ListOptions, Propagation, WatchOptions, WriteOptions};
use serde_json::Value;

use super::path::percent_decode;
use crate::errors;

/// The parameters of one request, in order.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(&key.replace('+', " ")), percent_decode(&value.replace('+', " ")))
        });
        Self(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be given several times.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Status> {
        match self.get(name) {
            None => Ok(None),
            // A flag without a value is set.
            Some("" | "true" | "1" | "True" | "t" | "T" | "TRUE") => Ok(Some(true)),
            Some("false" | "0" | "False" | "f" | "F" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(Status::bad_request(format!("{name}: Invalid value: {other:?}: must be true or false"))),
        }
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Status::bad_request(format!("{name}: Invalid value: {text:?}: must be a number"))),
        }
    }

    pub(super) fn list(&self) -> Result<ListOptions, Status> {
        Ok(ListOptions {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            limit: self.number("limit")?.unwrap_or(0),
            continue_token: self.text("continue"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
        })
    }

    pub(super) fn watch(&self) -> Result<WatchOptions, Status> {
        Ok(WatchOptions {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
            allow_bookmarks: self.flag("allowWatchBookmarks")?.unwrap_or(false),
            send_initial_events: self.flag("sendInitialEvents")?,
            timeout_seconds: self.number("timeoutSeconds")?,
        })
    }

    /// `kind` is that of the options, for messages.
    pub(super) fn write(&self, kind: &str, user_agent: &str) -> Result<WriteOptions, Status> {
        let manager = match self.get("fieldManager") {
            None | Some("") => user_agent.split('/').next().unwrap_or_default().chars().take(128).collect(),
            Some(manager) => manager.to_owned(),
        };
        Ok(WriteOptions {
            dry_run: parse_dry_run(kind, self.all("dryRun"))?,
            field_manager: manager,
            field_validation: self.text("fieldValidation"),
            force: self.flag("force")?.unwrap_or(false),
        })
    }

    /// From the query, overridden by the body.
    pub(super) fn delete(&self, body: &Value) -> Result<DeleteOptions, Status> {
        let mut options = DeleteOptions {
            grace_period_seconds: self.number("gracePeriodSeconds")?,
            propagation: propagation(self.get("propagationPolicy"), self.flag("orphanDependents")?)?,
            dry_run: parse_dry_run(DELETE_OPTIONS, self.all("dryRun"))?,
            ..DeleteOptions::default()
        };
        if body.is_null() {
            return Ok(options);
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
        Ok(options)
    }
}

const DELETE_OPTIONS: &str = "DeleteOptions";

fn parse_dry_run<'a>(kind: &str, values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|value| !value.is_empty()) {
        match value {
            "All" => dry = true,
            other => errors::options(kind, vec![validate::not_supported("dryRun", other, &["All"])])?,
        }
    }
    Ok(dry)
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>, Status> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let params = Params::parse("labelSelector=a%3Db%2Cc+in+(d)&limit=5&watch");
        let list = params.list().expect("parses");
        assert_eq!((list.label_selector.as_str(), list.limit), ("a=b,c in (d)", 5));
        assert_eq!(params.flag("watch"), Ok(Some(true)));
        assert!(Params::parse("limit=x").list().is_err());
    }

    #[test]
    fn the_body_of_a_delete_overrides_its_query() {
        let params = Params::parse("gracePeriodSeconds=5&propagationPolicy=Orphan");
        let body = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}, "propagationPolicy": "Foreground"});
        let options = params.delete(&body).expect("parses");
        assert_eq!(options.grace_period_seconds, Some(0));
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert_eq!(options.uid.as_deref(), Some("u"));
        assert!(Params::parse("dryRun=Some").delete(&Value::Null).is_err());
    }
}
