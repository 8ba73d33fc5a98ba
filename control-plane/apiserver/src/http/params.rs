//! Query parameters, and `v1.DeleteOptions` bodies.

use mizzen_api::{Status, validate};
use mizzen_client::{DeleteOptions, ListOptions, WatchOptions, WriteOptions};
use serde_json::Value;

use super::path::percent_decode;
use crate::errors;
use crate::number;
use crate::pipeline::delete_options::{self, DELETE_OPTIONS, parse_dry_run, propagation};

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

    /// As Kubernetes reads flags: whatever is there and is not `false` or `0` sets one.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// # Errors
    /// `BadRequest` in the words of Go's `strconv`, in which clients know it.
    fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        self.get(name).map(|text| number::signed(text).map_err(Status::bad_request)).transpose()
    }

    pub(super) fn list(&self) -> Result<ListOptions, Status> {
        self.number("timeoutSeconds")?;
        if self.get("sendInitialEvents").is_some() {
            let cause = validate::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
            errors::options("ListOptions", vec![cause])?;
        }
        Ok(ListOptions {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            // Less than none is no limit.
            limit: self.number("limit")?.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(0),
            continue_token: self.text("continue"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
        })
    }

    pub(super) fn watch(&self) -> Result<WatchOptions, Status> {
        self.number("limit")?;
        Ok(WatchOptions {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
            allow_bookmarks: self.flag("allowWatchBookmarks").unwrap_or(false),
            send_initial_events: self.flag("sendInitialEvents"),
            timeout_seconds: self.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
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
            force: self.flag("force").unwrap_or(false),
        })
    }

    /// From the query, overridden by the body.
    pub(super) fn delete(&self, body: &Value) -> Result<DeleteOptions, Status> {
        let mut options = DeleteOptions {
            grace_period_seconds: self.number("gracePeriodSeconds")?,
            propagation: propagation(self.get("propagationPolicy"), self.flag("orphanDependents"))?,
            dry_run: parse_dry_run(DELETE_OPTIONS, self.all("dryRun"))?,
            ..DeleteOptions::default()
        };
        delete_options::take_body(body, &mut options)?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use mizzen_client::Propagation;
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let params = Params::parse("labelSelector=a%3Db%2Cc+in+(d)&limit=5&watch");
        let list = params.list().expect("parses");
        assert_eq!((list.label_selector.as_str(), list.limit), ("a=b,c in (d)", 5));
        assert_eq!(params.flag("watch"), Some(true));
    }

    #[test]
    fn flags_and_numbers_are_read_as_kubernetes_reads_them() {
        for (value, set) in [("", true), ("x", true), ("F", true), ("1", true), ("0", false), ("False", false)] {
            assert_eq!(Params::parse(&format!("watch={value}")).flag("watch"), Some(set), "{value}");
        }
        assert_eq!(Params::parse("a=b").flag("watch"), None);
        let refused = |query: &str| Params::parse(query).list().map(|_| ()).map_err(|status| (status.code, status.message));
        for (query, why) in [
            ("limit=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("limit=", "strconv.ParseInt: parsing \"\": invalid syntax"),
            ("limit=9223372036854775808", "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"),
            ("timeoutSeconds=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(refused(query), Err((400, why.to_owned())), "{query}");
        }
        assert_eq!(Params::parse("limit=-1").list().map(|options| options.limit), Ok(0));
        assert!(Params::parse("limit=x").watch().is_err());
        assert_eq!(Params::parse("allowWatchBookmarks=yes").watch().map(|options| options.allow_bookmarks), Ok(true));
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
