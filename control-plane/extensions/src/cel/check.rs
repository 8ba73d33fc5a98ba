//! What is wrong with an expression before it runs: names that there are not, operators between what they do not take, and
//! costs that no budget would allow. Where a type is not known for sure nothing is said: Kubernetes refuses more, never less.

use std::fmt;

use mizzen_api::schema::{Schema, SchemaSet};

use super::inferred::{Known, outcome};
use super::parse::Compiled;
use super::types::Plain;
use super::walk::Walk;
use crate::schema::Structural;

/// What one rule may be expected to cost (`StaticEstimatedCostLimit` of Kubernetes).
pub const MAX_RULE_COST: u64 = 10_000_000;
/// What all rules of a definition may be expected to cost (`StaticEstimatedCRDCostLimit` of Kubernetes).
pub const MAX_TOTAL_COST: u64 = 100_000_000;

/// What a rule is about.
pub struct Subject<'a> {
    pub schema: &'a Structural,
    /// The root of a document or an embedded one, which has metadata.
    pub is_resource: bool,
    /// `optionalOldSelf`.
    pub optional_old_self: bool,
}

/// What a rule may cost at most, as far as its loops tell.
///
/// # Errors
/// The first thing that is wrong with it: a name that there is not, an operator that does not take its operands, or another
/// type than `wanted`.
pub fn check_rules(subject: &Subject<'_>, program: &Compiled, wanted: Plain) -> Result<u64, String> {
    let this = Known::Of(subject.schema, subject.is_resource);
    // An optional value has other fields.
    let before = if subject.optional_old_self { Known::Unknown } else { this };
    let mut walk = Walk::new(vec![("self", this), ("oldSelf", before)]);
    let (known, cost) = walk.expression(&program.expression);
    match walk.into_wrong() {
        Some(wrong) => Err(format!("compilation failed: ERROR: <input>: {wrong}")),
        None if outcome(known).is_some_and(|plain| plain != wanted) => Err(match wanted {
            Plain::Text => "messageExpression must evaluate to a string".to_owned(),
            wanted => format!("cel expression must evaluate to a {}", wanted.as_str()),
        }),
        None => Ok(cost),
    }
}

/// What is known of the variables of an expression: schemas of a set for some, of their own for others, and nothing for
/// the rest.
pub struct Typed<'a> {
    pub set: &'a SchemaSet,
    pub typed: &'a [(&'a str, &'a Schema)],
    pub shaped: &'a [(&'a str, &'a Structural)],
    pub untyped: &'a [&'a str],
}

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistyped {
    /// It cannot be compiled.
    Unread(String),
    Inside(String),
    /// It is of another type than what is wanted, which is told.
    Outcome(String),
}

impl fmt::Display for Mistyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(why) => f.write_str(why),
            Self::Inside(wrong) => write!(f, "ERROR: <input>: {wrong}"),
            Self::Outcome(wanted) => write!(f, "must evaluate to {wanted}"),
        }
    }
}

/// # Errors
/// What is wrong with an expression whose variables have these types, which has to be of one of the types `wanted`; of any
/// if there are none.
pub fn check_types(program: &Compiled, given: &Typed<'_>, wanted: &[Plain]) -> Result<(), Mistyped> {
    let typed = given.typed.iter().map(|(name, schema)| (*name, Known::In(given.set, schema)));
    let shaped = given.shaped.iter().map(|(name, schema)| (*name, Known::Of(schema, false)));
    let variables = given.untyped.iter().map(|name| (*name, Known::Unknown)).chain(typed).chain(shaped).collect();
    let mut walk = Walk::new(variables);
    let (known, _) = walk.expression(&program.expression);
    match (walk.into_wrong(), wanted) {
        (Some(wrong), _) => Err(Mistyped::Inside(wrong)),
        (None, wanted) if !wanted.is_empty() && outcome(known).is_some_and(|plain| !wanted.contains(&plain)) => {
            let names: Vec<&str> = wanted.iter().map(|plain| plain.as_str()).collect();
            Err(Mistyped::Outcome(match names.as_slice() {
                [one] => (*one).to_owned(),
                many => format!("one of [{}]", many.join(" ")),
            }))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cel::compile;

    fn check(rule: &str) -> Result<u64, String> {
        let schema = Structural::parse(&json!({"type": "object", "properties": {
            "a": {"type": "integer"}, "b-c": {"type": "string"},
            "list": {"type": "array", "maxItems": 10, "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
            "long": {"type": "array", "items": {"type": "integer"}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        }}));
        let subject = Subject { schema: &schema, is_resource: true, optional_old_self: false };
        check_rules(&subject, &compile(rule)?, Plain::Bool)
    }

    #[test]
    fn names_that_there_are_not_are_found() {
        for rule in [
            "self.missing == 1",
            "self.list.all(e, e.y > 1)",
            "nothing == 1",
            "has(self.missing)",
            "oldSelf.missing == self.a",
            "self.a.x == 1",
            "self.list.x == 1",
            "self.b__dash__c.foo()",
            "foo(self.a)",
            "nothing.startsWith('x')",
        ] {
            assert!(check(rule).is_err(), "{rule}");
        }
        assert!(compile("self.a >").is_err());
        assert!(compile("").is_err());
        assert!(compile(&"(".repeat(10_000)).is_err());
        assert!(compile(&vec!["1"; 5_000].join("+")).is_err());
        for rule in [
            "self.a == 1 && self.b__dash__c == 'x'",
            "self.list.all(e, e.x > self.a)",
            "self.map.all(k, self.map[k] == 'x')",
            "self.map.all(k, v, v == 'x')",
            "self.metadata.name == 'x'",
            "sets.contains([1], [2]) && math.greatest(1, 2) == 2",
            "self.?missing.orValue(1) == 1",
            "oldSelf.a == self.a",
        ] {
            assert!(check(rule).is_ok(), "{rule}: {:?}", check(rule));
        }
    }

    #[test]
    fn operators_between_what_they_do_not_take_are_found() {
        for (rule, wrong) in [
            ("self.a == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
            ("self.a + 'x' == 'x'", "found no matching overload for '_+_' applied to '(int, string)'"),
            ("self.list.all(e, e.x > 'y')", "found no matching overload for '_>_' applied to '(int, string)'"),
            ("self.a && true", "found no matching overload for '_&&_' applied to '(int, bool)'"),
            ("!self.b__dash__c", "found no matching overload for '!_' applied to '(string)'"),
            ("self.map.all(k, k == 1)", "found no matching overload for '_==_' applied to '(string, int)'"),
            ("self.a == 1.5", "found no matching overload for '_==_' applied to '(int, double)'"),
            ("1 == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
            ("self.a in ['x']", "found no matching overload for '@in' applied to '(int, list(string))'"),
            ("'x' in self.long", "found no matching overload for '@in' applied to '(string, list(int))'"),
            ("1 in self.map", "found no matching overload for '@in' applied to '(int, map(string, string))'"),
            ("[1, 2].all(n, n == 'x')", "found no matching overload for '_==_' applied to '(int, string)'"),
            ("size(self.list)", "cel expression must evaluate to a bool"),
            ("self.a", "cel expression must evaluate to a bool"),
            ("null", "cel expression must evaluate to a bool"),
            ("self.list.map(e, e.x)", "cel expression must evaluate to a bool"),
            ("duration('1s')", "cel expression must evaluate to a bool"),
            ("self.a ? true : false", "found no matching overload for '_?_:_' applied to '(int, bool, bool)'"),
            ("self.a > 1 ? true : 1", "found no matching overload for '_?_:_' applied to '(bool, bool, int)'"),
            ("size(self.a) > 1", "found no matching overload for 'size' applied to '(int)'"),
            ("-self.b__dash__c == 'x'", "found no matching overload for '-_' applied to '(string)'"),
            ("self.a - 'x' == 1", "found no matching overload for '_-_' applied to '(int, string)'"),
        ] {
            let told = check(rule).expect_err(rule);
            assert!(told.ends_with(wrong), "{rule}: {told}");
        }
        for rule in [
            "double(self.a) == 1.5 || self.a < 2.5",
            "self.list.map(e, e.x).size() == 1 && self.list.exists_one(e, e.x == 1)",
            "(self.a > 1 ? 'x' : self.b__dash__c) == 'x'",
            "self.list.filter(e, e.x > 1) == []",
            "self.a in [1, 'x'] && self.b__dash__c in ['x'] && !(1 in self.list.map(e, e.x)) && self.a in []",
            "type(self.a) == int && self.a in [1, 2] && 'x' in self.map",
            "cel.bind(n, self.a, n + 1 > 2)",
            "self.b__dash__c + string(self.a) == 'x1'",
            "self.a == null || self.list == self.long",
            "timestamp('2026-01-01T00:00:00Z') - duration('1s') < timestamp('2026-01-01T00:00:00Z')",
            "(has(self.a) ? self.a : 1) % 2 == 0 && self.b__dash__c.lowerAscii().size() > 0",
            "self.list.exists_one(e, e.x == 1) && [1, 2].filter(n, n > 1).size() == 1",
            "self.b__dash__c.split(',').map(s, s.trim()).all(s, s in ['a', 'b'])",
            "quantity('1').add(quantity('2')).compareTo(quantity('3')) == 0 && isURL(self.b__dash__c)",
            "self.?a.optMap(n, n + 1).orValue(0) > 0 && math.greatest(self.a, 2) > 1",
        ] {
            assert!(check(rule).is_ok(), "{rule}: {:?}", check(rule));
        }
    }

    #[test]
    fn policies_know_the_fields_of_built_in_kinds() {
        let set = mizzen_api::schema::builtin();
        let pod = set.get("io.k8s.api.core.v1.Pod").expect("is built in");
        let typed = |source: &str, wanted: Plain| {
            let given = Typed { set, typed: &[("object", pod)], shaped: &[], untyped: &["request", "variables"] };
            check_types(&compile(source)?, &given, &[wanted]).map_err(|wrong| wrong.to_string())
        };
        for source in [
            "object.spec.containers.all(c, c.image.startsWith('x') && has(c.resources.limits))",
            "object.metadata.labels['a.b/c'] == 'd' && object.metadata.labels.all(k, k != '')",
            "object.spec.containers[0].ports[0].containerPort > 80 && variables.x == 1",
            "object.metadata.creationTimestamp < timestamp('2026-01-01T00:00:00Z')",
            "object.spec.containers.all(c, quantity(c.resources.limits['cpu']).isLessThan(quantity('1')))",
        ] {
            assert_eq!(typed(source, Plain::Bool), Ok(()), "{source}");
        }
        assert_eq!(typed("'a' + object.metadata.name", Plain::Text), Ok(()));
        for (source, wrong) in [
            ("object.replicas > 1", "ERROR: <input>: undefined field 'replicas'"),
            (
                "object.spec.containers.all(c, c.name == 1)",
                "ERROR: <input>: found no matching overload for '_==_' applied to '(string, int)'",
            ),
            ("has(object.spec.nothing)", "ERROR: <input>: undefined field 'nothing'"),
            ("object.metadata.name", "must evaluate to bool"),
        ] {
            assert_eq!(typed(source, Plain::Bool), Err(wrong.to_owned()), "{source}");
        }
    }

    #[test]
    fn nested_loops_over_unbounded_lists_cost_too_much() {
        assert!(check("self.list.all(a, self.list.all(b, a.x != b.x))").expect("compiles") < MAX_RULE_COST);
        assert!(check("self.long.all(a, self.long.all(b, a != b))").expect("compiles") > MAX_RULE_COST);
    }

    #[test]
    fn lengths_beyond_every_document_leave_a_loop_nothing() {
        for least in [u64::MAX, u64::MAX - 1, u64::MAX - 2, u64::MAX - 3] {
            let text = json!({"type": "string", "minLength": least});
            let of = json!({"type": "object", "required": ["a", "b"], "properties": {"a": text, "b": text}});
            for items in [&text, &of] {
                let schema = Structural::parse(&json!({"type": "object", "properties": {
                    "list": {"type": "array", "items": items}, "map": {"type": "object", "additionalProperties": items},
                }}));
                let subject = Subject { schema: &schema, is_resource: false, optional_old_self: false };
                let rule = "self.list.all(e, e == e) && self.map.all(k, k != '')";
                let cost = check_rules(&subject, &compile(rule).expect("compiles"), Plain::Bool);
                assert!(cost.expect("is right") < 100, "{items}");
            }
        }
    }
}
