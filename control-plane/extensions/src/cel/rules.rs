//! The rules of a schema on a document.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::cel::objects::OptionalValue;
use kube_cel::cel::{Context, ExecutionError, Value as Cel};
use mizzen_api::status::Cause;
use mizzen_api::validate::{duplicate, forbidden, invalid_text, required};
use serde_json::Value;

use super::budget::{PER_CALL, PER_OBJECT, with_limit};
use super::functions::with_functions;
use super::parse::{Compiled, STACK_BYTES};
use super::value::to_cel;
use crate::schema::{Correlated, ListType, Rule, Structural};

const OUT_OF_BUDGET: &str = "validation failed due to running out of cost budget, no further validation rules will be run";
/// Longer answers of message expressions are not used, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// Every rule that the document breaks. Rules that look at the old value run where there is one that it can be compared
/// with; others do not run again on what has not changed (CRD validation ratcheting). Waits for them: to be called where
/// waiting holds up nobody.
pub fn validate_rules(schema: &Structural, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    if !schema.has_rules() {
        return Vec::new();
    }
    let walk = || {
        let mut walk = Walk { path: String::new(), causes: Vec::new(), left: PER_OBJECT };
        walk.value(schema, value, old, true);
        walk.causes
    };
    // What cannot be checked is not let in.
    on_known_stack(walk)
        .unwrap_or_else(|error| vec![invalid_text("<nil>", schema.type_name(), format!("rules cannot be evaluated: {error}"))])
}

/// Evaluating recurses as deep as expression and document nest; the caller's stack may be any.
fn on_known_stack<T: Send>(evaluate: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel-rules".to_owned()).stack_size(STACK_BYTES);
        let evaluating = thread.spawn_scoped(scope, evaluate)?;
        evaluating.join().map_err(|_panic| io::Error::other("internal error"))
    })
}

struct Walk {
    path: String,
    causes: Vec<Cause>,
    left: i64,
}

/// How a rule went.
enum Verdict {
    Holds,
    Broken,
    Failed(String),
    /// Nothing more is run.
    OutOfBudget(String),
}

impl Walk {
    fn value(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, is_resource: bool) {
        if value.is_null() || self.left < 0 {
            return;
        }
        if !schema.rules.is_empty() {
            self.rules(schema, value, old.filter(|old| !old.is_null()), is_resource);
        }
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let Some(schema) = schema.field(name).filter(|schema| schema.has_rules()) else { continue };
                    let length = self.path.len();
                    if length > 0 {
                        self.path.push('.');
                    }
                    self.path.push_str(name);
                    let old = old.and_then(|old| old.get(name));
                    self.value(schema, value, old, schema.embedded);
                    self.path.truncate(length);
                }
            }
            Value::Array(items) => {
                let Some(item_schema) = schema.items.as_deref().filter(|schema| schema.has_rules()) else { return };
                let before = Correlated::new(&schema.list_type, old);
                for (index, item) in items.iter().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    let old = if matches!(schema.list_type, ListType::Map(_)) { before.find(item) } else { None };
                    self.value(item_schema, item, old, item_schema.embedded);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Structural, value: &Value, old: Option<&Value>, is_resource: bool) {
        let unchanged = old == Some(value);
        let this = to_cel(Some(schema), value, is_resource);
        let before = old.map(|old| to_cel(Some(schema), old, is_resource));
        for rule in &schema.rules {
            if self.left < 0 {
                return;
            }
            let program = match &rule.program {
                Ok(program) => program,
                Err(error) => {
                    self.invalid(schema, &format!("rule compile error: {error}"));
                    continue;
                }
            };
            if program.uses_old_self && before.is_none() && !rule.optional_old_self {
                continue;
            }
            let old_self = match (rule.optional_old_self, before.clone()) {
                (true, before) => {
                    let optional = before.map_or_else(OptionalValue::none, OptionalValue::of);
                    Some(Cel::Opaque(std::sync::Arc::new(optional)))
                }
                (false, before) => before,
            };
            match self.run(rule, program, &this, old_self.as_ref()) {
                Verdict::Holds => {}
                Verdict::Failed(why) => self.invalid(schema, &why),
                Verdict::OutOfBudget(why) => {
                    self.invalid(schema, &why);
                    self.left = -1;
                }
                Verdict::Broken if unchanged && !program.uses_old_self => {}
                Verdict::Broken => {
                    let message = self.message(rule, &this, old_self.as_ref());
                    self.broken(schema, rule, &message);
                }
            }
        }
    }

    fn run(&mut self, rule: &Rule, program: &Compiled, this: &Cel, old_self: Option<&Cel>) -> Verdict {
        let limit = PER_CALL.min(self.left);
        match evaluate(program, this, old_self, limit) {
            (_, None) if limit < PER_CALL => Verdict::OutOfBudget(OUT_OF_BUDGET.to_owned()),
            (_, None) => Verdict::OutOfBudget(format!(
                "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost \
                 exceeds limit for rule: {}",
                text_of(rule)
            )),
            (answer, Some(spent)) => {
                self.left -= spent;
                match answer {
                    Ok(Cel::Bool(true)) => Verdict::Holds,
                    Ok(Cel::Bool(false)) => Verdict::Broken,
                    Ok(_) => Verdict::Failed(format!("rule must evaluate to a bool: {}", text_of(rule))),
                    Err(error) => Verdict::Failed(failure(&error, rule)),
                }
            }
        }
    }

    /// What the client is told: the message expression's answer if it is fit to be shown, else the message, else the rule.
    fn message(&mut self, rule: &Rule, this: &Cel, old_self: Option<&Cel>) -> String {
        if let Some(program) = &rule.message_program {
            let (answer, spent) = evaluate(program, this, old_self, PER_CALL.min(self.left.max(1)));
            self.left -= spent.unwrap_or(PER_CALL);
            if let (Ok(Cel::String(text)), Some(_)) = (answer, spent) {
                let text = text.trim();
                if !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n') {
                    return text.to_owned();
                }
            }
        }
        match &rule.message {
            Some(message) => message.trim().to_owned(),
            None => format!("failed rule: {}", rule.rule.trim()),
        }
    }

    fn broken(&mut self, schema: &Structural, rule: &Rule, message: &str) {
        let length = self.path.len();
        if let Some(field) = &rule.field_path {
            self.path.push_str(if length == 0 { field.trim_start_matches('.') } else { field });
        }
        let path = self.field();
        self.causes.push(match rule.reason.as_deref() {
            Some("FieldValueForbidden") => forbidden(path, message),
            Some("FieldValueRequired") => required(path, message),
            Some("FieldValueDuplicate") => duplicate(path, &schema.type_name().into()),
            _ => invalid_text(path, schema.type_name(), message),
        });
        self.path.truncate(length);
    }

    fn invalid(&mut self, schema: &Structural, message: &str) {
        self.causes.push(invalid_text(self.field(), schema.type_name(), message));
    }

    fn field(&self) -> String {
        if self.path.is_empty() { "<nil>".to_owned() } else { self.path.clone() }
    }
}

/// The answer, and what it cost unless that was too much.
fn evaluate(program: &Compiled, this: &Cel, old_self: Option<&Cel>, limit: i64) -> (Result<Cel, ExecutionError>, Option<i64>) {
    with_functions(|functions| {
        let mut scope = functions.new_inner_scope();
        scope.add_variable_from_value("self", this.clone());
        if let Some(old_self) = old_self {
            scope.add_variable_from_value("oldSelf", old_self.clone());
        }
        with_limit(limit, || run(program, &scope))
    })
}

/// A function of the library that panics on odd arguments must not end more than the evaluation.
pub(super) fn run(program: &Compiled, scope: &Context<'_>) -> Result<Cel, ExecutionError> {
    catch_unwind(AssertUnwindSafe(|| Cel::resolve(&program.expression, scope)))
        .unwrap_or_else(|_| Err(ExecutionError::function_error("evaluation", "internal error")))
}

fn text_of(rule: &Rule) -> &str {
    rule.message.as_deref().unwrap_or(&rule.rule).trim()
}

fn failure(error: &ExecutionError, rule: &Rule) -> String {
    let text = text_of(rule);
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key} evaluating rule: {text}"),
        ExecutionError::NoSuchOverload => format!(
            "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {text}"
        ),
        error => format!("{error} evaluating rule: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_about(schema: &Value, value: &Value, old: Option<&Value>) -> Vec<String> {
        let schema = Structural::parse(schema);
        validate_rules(&schema, value, old).iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    fn with_rules(rules: Value) -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules, "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"}, "ratio": {"type": "number"},
            "when": {"type": "string", "format": "date-time"}, "for": {"type": "string", "format": "duration"},
            "list": {"type": "array", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                "items": {"type": "object", "properties": {"port": {"type": "integer"}, "name": {"type": "string"}},
                    "x-kubernetes-validations": [{"rule": "self.name == oldSelf.name", "message": "name is immutable"}]}}}}}})
    }

    fn holds(rule: &str, spec: Value) -> Vec<String> {
        told_about(&with_rules(json!([{"rule": rule}])), &json!({"spec": spec}), None)
    }

    #[test]
    fn a_broken_rule_is_told_with_its_message() {
        let rules = json!([
            {"rule": "self.min <= self.max", "message": "min may not exceed max"},
            {"rule": "self.min > 0"},
            {"rule": "self.name.startsWith('a')", "messageExpression": "'bad name ' + self.name", "fieldPath": ".name",
             "reason": "FieldValueForbidden"},
        ]);
        let spec = json!({"spec": {"min": 0, "max": -1, "name": "b"}});
        assert_eq!(
            told_about(&with_rules(rules), &spec, None),
            [
                "spec: Invalid value: \"object\": min may not exceed max",
                "spec: Invalid value: \"object\": failed rule: self.min > 0",
                "spec.name: Forbidden: bad name b",
            ]
        );
    }

    #[test]
    fn a_field_named_as_a_word_of_the_language_is_found_with_and_without_its_escape() {
        for rule in [
            "self.spec.all(t, !has(t.namespace) || size(t.namespace) == 1)",
            "self.spec.all(t, !has(t.__namespace__) || size(t.__namespace__) == 1)",
            "self.spec.all(t, t.?namespace.orValue('b') == 'b')",
        ] {
            let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
                "spec": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {
                    "namespace": {"type": "string", "maxLength": 9}, "name": {"type": "string"}}}}}});
            assert_eq!(crate::schema::check("s", &schema).iter().map(|cause| &*cause.message).collect::<Vec<_>>(), [""; 0]);
            let told = |namespace: &str| told_about(&schema, &json!({"spec": [{"name": "a"}, {"namespace": namespace}]}), None);
            assert_eq!(told("b"), [""; 0], "{rule}");
            assert_eq!(told("long").len(), 1, "{rule}");
        }
    }

    #[test]
    fn patterns_are_those_of_go() {
        let spec = json!({"name": "a[b"});
        assert_eq!(holds("self.name.matches('^[a-z[]+$') && self.name.find('[[]') == '['", spec.clone()), [""; 0]);
        assert_eq!(holds("matches(self.name, '^[a-z[]+$')", spec), [""; 0]);
        assert_eq!(holds(r"self.name.matches('^\\w+$')", json!({"name": "é"})).len(), 1);
    }

    #[test]
    fn the_language_and_its_libraries_work() {
        let spec = json!({"min": 1, "max": 5, "name": "abc-def", "ratio": 2, "when": "2026-01-02T03:04:05Z", "for": "1h",
            "list": ["a", "b"], "labels": {"x": "1", "y": "2"}, "ports": [{"port": 80, "name": "http"}]});
        for rule in [
            "self.list.all(x, x.size() == 1)",
            "self.list.exists(x, x == 'b') && !self.list.exists(x, x == 'c')",
            "self.list.map(x, x + x) == ['aa', 'bb']",
            "self.list.filter(x, x > 'a').size() == 1",
            "self.ports.exists_one(p, p.port == 80)",
            "self.labels.all(k, self.labels[k].matches('^[0-9]$'))",
            "self.labels.all(k, v, v.size() == 1 && k in self.labels)",
            "self.list.exists(i, v, i == 1 && v == 'b')",
            "self.list.transformList(i, v, v + string(i)) == ['a0', 'b1']",
            "has(self.name) && !has(self.missing)",
            "self.?missing.orValue('none') == 'none'",
            "self.?name.orValue('none') == 'abc-def'",
            "!self.?missing.?deeper.hasValue()",
            "self.?name.optMap(n, n.size()).orValue(0) == 7",
            "cel.bind(n, self.max - self.min, n * n == 16)",
            "self.name.split('-').size() == 2 && self.name.replace('-', '').upperAscii() == 'ABCDEF'",
            "self.ratio == 2.0 && self.ratio > 1.5",
            "self.when < timestamp('2027-01-01T00:00:00Z')",
            "self.__for__ > duration('30m')",
            "quantity('1Gi').isGreaterThan(quantity('500Mi'))",
            "url('https://example.com:80/x').getHost() == 'example.com:80'",
            "isIP('10.0.0.1') && cidr('10.0.0.0/8').containsIP('10.1.2.3')",
            "sets.contains(self.list, ['a'])",
            "self.list.isSorted() && self.list.indexOf('b') == 1",
            "self.min in [1, 2] ? true : false",
            "type(self.min) == int && type(self.name) != int",
            "'%s-%d'.format([self.name, self.min]) == 'abc-def-1'",
        ] {
            assert_eq!(holds(rule, spec.clone()), [""; 0], "{rule}");
        }
    }

    #[test]
    fn transition_rules_see_the_old_value_where_there_is_one() {
        let schema = with_rules(json!([
            {"rule": "self.min >= oldSelf.min", "message": "min may not shrink"},
            {"rule": "oldSelf.hasValue() || self.max < 10", "optionalOldSelf": true, "message": "max of a new one is small"},
        ]));
        let (new, old) = (json!({"spec": {"min": 1, "max": 50}}), json!({"spec": {"min": 2, "max": 5}}));
        assert_eq!(told_about(&schema, &new, None), ["spec: Invalid value: \"object\": max of a new one is small"]);
        assert_eq!(told_about(&schema, &new, Some(&old)), ["spec: Invalid value: \"object\": min may not shrink"]);
        let new = json!({"spec": {"min": 2, "max": 5, "ports": [{"port": 2, "name": "x"}, {"port": 1, "name": "b"}]}});
        let old = json!({"spec": {"min": 2, "max": 5, "ports": [{"port": 1, "name": "a"}]}});
        assert_eq!(told_about(&schema, &new, Some(&old)), ["spec.ports[1]: Invalid value: \"object\": name is immutable"]);
    }

    #[test]
    fn what_broke_a_rule_before_and_is_unchanged_is_let_be() {
        let schema = with_rules(json!([{"rule": "self.min > 0"}]));
        let old = json!({"spec": {"min": 0}});
        assert_eq!(told_about(&schema, &old, Some(&old)), [""; 0]);
        assert_eq!(told_about(&schema, &json!({"spec": {"min": -1}}), Some(&old)).len(), 1);
    }

    #[test]
    fn errors_while_evaluating_refuse_the_document() {
        let told = holds("self.missing == 1", json!({}));
        assert_eq!(told, ["spec: Invalid value: \"object\": no such key: missing evaluating rule: self.missing == 1"]);
        assert_eq!(holds("1 / self.min == 1", json!({"min": 0})).len(), 1);
    }

    #[test]
    fn what_is_looked_at_in_place_and_what_loops_collect_costs_as_much_as_it_is() {
        let list: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
        let many: serde_json::Map<String, Value> = (0..1000).map(|number| (format!("k{number}"), json!("x"))).collect();
        let spec = json!({"list": list, "name": "a".repeat(100_000), "labels": many});
        for rule in [
            "self.list.all(x, self.labels.k7 == 'x' && self.labels['k8'] == 'x' && has(self.labels.k9))",
            "self.list.map(x, x).size() == 20000",
            "self.list.filter(x, x != '7').map(x, [x]).size() == 19999",
            "self.labels.all(k, v, v == 'x' && k in self.labels)",
            "self.labels.transformList(k, v, v).size() == 1000",
            "self.list[19999] == '19999' && self.list[?20000].orValue('none') == 'none'",
            "[1, 2].map(x, [3, 4].map(y, x * y)) == [[3, 4], [6, 8]]",
        ] {
            assert_eq!(holds(rule, spec.clone()), [""; 0], "{rule}");
        }
    }

    #[test]
    fn no_rule_runs_for_ever_or_grows_without_bounds() {
        let list: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        let spec = json!({"list": list, "name": "a".repeat(100_000)});
        for rule in [
            "self.list.all(a, self.list.all(b, self.list.all(c, a + b + c != 'x')))",
            "self.list.map(x, self.name).size() > 0",
            "self.name.replace('a', 'aaaaaaaaaa').replace('a', 'aaaaaaaaaa').replace('a', 'aaaaaaaaaa').size() > 0",
            "cel.bind(a, self.name + self.name, cel.bind(b, a + a + a + a, cel.bind(c, b + b + b + b, (c + c + c + c + c + c + c + c + c).size() > 0)))",
            "self.list.join(self.name).size() > 0",
            "lists.range(1000000000).size() > 0",
            "[self.list, self.list].all(x, self.list.map(y, self.list).size() > 0)",
            "self.list.all(x, x in self.list)",
            "self.list.all(x, self.list == self.list)",
            "self.list.all(x, !(self.list != self.list))",
            "self.list.all(x, self.name <= self.name)",
            "self.list.all(x, self.list.size() > 0)",
            "self.list.all(x, cel.bind(all, self, true))",
            "self.list.all(x, self.?list.hasValue())",
            "cel.bind(all, self.list, self.list.all(x, all.all(y, true)))",
        ] {
            let told = holds(rule, spec.clone());
            assert_eq!(told.len(), 1, "{rule}");
            assert!(told[0].contains("cost"), "{told:?}");
        }
    }
}
