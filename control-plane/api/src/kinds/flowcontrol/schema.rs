//! `FlowSchema`: which priority level a request belongs to.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{absent, child, fill, int, list, set, text};
use super::GROUP;
use super::rules::check_rule;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::{age, or_none};
use crate::status::Cause;
use crate::validate::{Path, complaints, dns1123_subdomain, invalid, not_supported, required};

struct FlowSchema;

const DEFAULT_PRECEDENCE: i64 = 1000;
const LAST_PRECEDENCE: i64 = 10_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "FlowSchema", "flowschemas", Scope::Cluster, FlowSchema).status()
}

const COLUMNS: &[Column] = &[
    Column::text("PriorityLevel", "The level that matching requests get."),
    Column::text("MatchingPrecedence", "Lower ones are tried first."),
    Column::text("DistinguisherMethod", "How flows are told apart."),
    Column::AGE,
    Column::text("MissingPL", "Whether the priority level does not exist."),
];

impl Strategy for FlowSchema {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        if int(spec, "/matchingPrecedence").unwrap_or(0) == 0 {
            set(spec, "matchingPrecedence", DEFAULT_PRECEDENCE);
        }
        fill(spec, "priorityLevelConfiguration", json!({"name": ""}));
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let at = Path::root("spec");
        let mut causes = Vec::new();
        let precedence = int(object, "/spec/matchingPrecedence").unwrap_or(0);
        let why = match precedence {
            ..=0 => Some("must be a positive value".to_owned()),
            1 if text(object, "/metadata/name") != "exempt" => {
                Some("only the schema named 'exempt' may have matchingPrecedence 1".to_owned())
            }
            precedence if precedence > LAST_PRECEDENCE => Some(format!("must not be greater than {LAST_PRECEDENCE}")),
            _ => None,
        };
        causes.extend(why.map(|why| invalid(at.field("matchingPrecedence"), &precedence.into(), why)));
        if !absent(object, "/spec/distinguisherMethod") {
            let method = text(object, "/spec/distinguisherMethod/type");
            if !METHODS.contains(&method) {
                let at = at.field("distinguisherMethod");
                causes.push(not_supported(at.field("type"), method, METHODS));
            }
        }
        let level = at.field("priorityLevelConfiguration");
        match text(object, "/spec/priorityLevelConfiguration/name") {
            "" => causes.push(required(level.field("name"), "must reference a priority level")),
            name => causes.extend(complaints(level.field("name"), name, dns1123_subdomain(name))),
        }
        let rules = at.field("rules");
        for (index, rule) in list(object, "/spec/rules").iter().enumerate() {
            check_rule(rule, &rules.index(index), &mut causes);
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let conditions = list(object, "/status/conditions");
        let dangling = conditions.iter().find(|condition| text(condition, "/type") == "Dangling");
        vec![
            text(object, "/spec/priorityLevelConfiguration/name").into(),
            int(object, "/spec/matchingPrecedence").unwrap_or(0).to_string().into(),
            or_none(text(object, "/spec/distinguisherMethod/type")).into(),
            age(object, context.now).into(),
            dangling.map_or("?", |condition| text(condition, "/status")).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_leads_to_one_level() {
        let mut right = json!({"metadata": {"name": "a"}, "spec": {"priorityLevelConfiguration": {"name": "low"}, "rules": [{
            "subjects": [{"kind": "Group", "group": {"name": "g"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true}]}]}});
        FlowSchema.default(&mut right);
        assert_eq!(FlowSchema.validate(&right), []);
        assert_eq!(FlowSchema.cells(&right, Context { now: jiff::Timestamp::UNIX_EPOCH })[1], "1000");
        let wrong = json!({"spec": {"matchingPrecedence": 1, "distinguisherMethod": {"type": "x"}, "rules": [{"subjects": []}]}});
        let fields: Vec<String> = FlowSchema.validate(&wrong).into_iter().map(|cause| cause.field).collect();
        assert_eq!(
            fields,
            [
                "spec.matchingPrecedence",
                "spec.distinguisherMethod.type",
                "spec.priorityLevelConfiguration.name",
                "spec.rules[0].subjects",
                "spec.rules[0]",
            ]
        );
    }
}
