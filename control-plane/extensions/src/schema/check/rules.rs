//! The rules of a node (`x-kubernetes-validations`): whether they can be evaluated, what they cost, and what they tell.

use mizzen_api::validate::{forbidden, invalid, invalid_text, not_supported, required};
use serde_json::Value;

use super::{Level, Place, Walk, array, text};
use crate::cel::{self, MAX_RULE_COST, Plain};
use crate::schema::Structural;

impl Walk {
    pub(super) fn rules(&mut self, path: &str, schema: &Value, level: Level, place: Place<'_>) {
        let rules = array(schema, "x-kubernetes-validations");
        if rules.is_empty() {
            return;
        }
        let structural = Structural::parse(schema);
        let is_resource = level == Level::Root || structural.embedded;
        for (index, rule) in rules.iter().enumerate() {
            let field = |name: &str| format!("{path}.x-kubernetes-validations[{index}].{name}");
            let source = text(rule, "rule");
            if source.trim().is_empty() {
                self.causes.push(required(field("rule"), "rule is not specified"));
                continue;
            }
            let optional_old_self = rule.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
            let subject = cel::Subject { schema: &structural, is_resource, optional_old_self };
            for (name, wanted) in [("rule", Plain::Bool), ("messageExpression", Plain::Text)] {
                let source = text(rule, name);
                if source.trim().is_empty() {
                    continue;
                }
                let checked = cel::compile(source).map_err(|error| format!("compilation failed: {error}")).and_then(|program| {
                    let cost = cel::check_rules(&subject, &program, wanted)?;
                    Ok((cost, program.uses_old_self()))
                });
                match checked {
                    Err(why) => self.causes.push(invalid_text(field(name), source, why)),
                    Ok((cost, uses_old_self)) => {
                        self.cost_of(&field(name), cost.saturating_mul(place.runs));
                        if name == "rule" {
                            self.old_self(rule, uses_old_self, place, &field);
                        }
                    }
                }
            }
            self.rule_texts(rule, &structural, is_resource, &field);
        }
    }

    /// Rules that look at the value as it was need one that is the same.
    fn old_self(&mut self, rule: &Value, uses_it: bool, place: Place<'_>, field: &dyn Fn(&str) -> String) {
        match (uses_it, place.within, rule.get("optionalOldSelf").filter(|optional| !optional.is_null())) {
            (true, Some(list), _) => {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                self.causes.push(invalid_text(field("rule"), text(rule, "rule"), why));
            }
            (false, _, Some(optional)) => {
                let why = "may not be set if oldSelf is not used in rule";
                self.causes.push(invalid(field("optionalOldSelf"), optional, why));
            }
            _ => {}
        }
    }

    fn cost_of(&mut self, field: &str, cost: u64) {
        self.cost = self.cost.saturating_add(cost);
        if cost > MAX_RULE_COST {
            let factor = match cost / MAX_RULE_COST {
                0..100 => format!("{:.1}x", cost as f64 / MAX_RULE_COST as f64),
                _ => "more than 100x".to_owned(),
            };
            let why = format!(
                "estimated rule cost exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, \
                 maxProperties, and maxLength where arrays, maps, and strings are declared)"
            );
            self.causes.push(forbidden(field, &why));
        }
    }

    fn rule_texts(&mut self, rule: &Value, schema: &Structural, is_resource: bool, field: &dyn Fn(&str) -> String) {
        const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
        const MAX_MESSAGE: usize = 2048;
        if let Some(message) = rule.get("message").and_then(Value::as_str) {
            if message.len() > MAX_MESSAGE {
                let why = format!("message must have a maximum length of {MAX_MESSAGE} characters");
                let begin: String = message.chars().take(10).collect();
                self.causes.push(invalid_text(field("message"), &format!("{begin}..."), why));
            }
            if message.trim().contains('\n') {
                self.causes.push(invalid_text(field("message"), message, "message must not contain line breaks"));
            }
        }
        let (source, message) = (text(rule, "rule"), text(rule, "message").trim());
        if source.trim().contains('\n') && message.is_empty() {
            self.causes.push(required(field("message"), "message must be specified if rule contains line breaks"));
        }
        let reason = text(rule, "reason");
        if !reason.is_empty() && !REASONS.contains(&reason) {
            self.causes.push(not_supported(field("reason"), reason, &REASONS));
        }
        let path = text(rule, "fieldPath");
        if !path.is_empty() && !has_field(schema, path, is_resource) {
            self.causes.push(invalid_text(
                field("fieldPath"),
                path,
                "fieldPath must be a valid path: does not refer to a valid field",
            ));
        }
    }
}

/// Whether a path such as `.spec.name` or `['a-b']` leads to a field of the schema.
fn has_field(schema: &Structural, path: &str, is_resource: bool) -> bool {
    let mut schema = schema;
    let normal = path.replace("['", ".").replace("']", "");
    let Some(names) = normal.strip_prefix('.') else { return false };
    for (index, name) in names.split('.').enumerate() {
        if index == 0 && is_resource && name == "metadata" {
            return true;
        }
        schema = match schema.field(name) {
            Some(field) => field,
            None => return false,
        };
    }
    true
}
