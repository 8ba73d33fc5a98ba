//! `PriorityLevelConfiguration`: how many requests of a level run, and what the others do.

use serde_json::{Value, json};

use super::super::builder::{Describe, resource};
use super::super::value::{absent, child, fill, int, set, text};
use super::GROUP;
use crate::descriptor::{Column, Context, ResourceDescriptor, Scope, Strategy};
use crate::print::age;
use crate::status::Cause;
use crate::validate::{Path, forbidden, invalid, required, required_one_of};

struct PriorityLevel;

/// What a shuffle-sharding hash can tell apart.
const MAX_HASH_BITS: i64 = 60;
const MAX_QUEUES: i64 = 10_000_000;

pub(super) fn descriptor() -> ResourceDescriptor {
    resource(GROUP, "PriorityLevelConfiguration", "prioritylevelconfigurations", Scope::Cluster, PriorityLevel).status()
}

const COLUMNS: &[Column] = &[
    Column::text("Type", "Whether the level is limited."),
    Column::text("NominalConcurrencyShares", "Its share of the server's requests at once."),
    Column::text("Queues", "How many queues it has."),
    Column::text("HandSize", "How many queues one flow may use."),
    Column::text("QueueLengthLimit", "How many requests wait in one queue."),
    Column::AGE,
];

impl Strategy for PriorityLevel {
    fn default(&self, object: &mut Value) {
        let Some(spec) = child(object, "spec") else { return };
        if text(spec, "/type") == "Exempt"
            && let Some(exempt) = child(spec, "exempt")
        {
            fill(exempt, "nominalConcurrencyShares", 0);
            fill(exempt, "lendablePercent", 0);
        }
        let Some(limited) = spec.get_mut("limited").filter(|limited| limited.is_object()) else { return };
        fill(limited, "nominalConcurrencyShares", 30);
        fill(limited, "lendablePercent", 0);
        if let Some(queuing) = limited.pointer_mut("/limitResponse/queuing").filter(|queuing| queuing.is_object()) {
            for (field, default) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                if int(queuing, &format!("/{field}")).unwrap_or(0) == 0 {
                    set(queuing, field, default);
                }
            }
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({}));
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let at = Path::root("spec");
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let mut causes = Vec::new();
        let kind = text(spec, "/type");
        causes.extend(required_one_of(at.field("type"), kind, &["Exempt", "Limited"]));
        match kind {
            "Exempt" => {
                if !absent(spec, "/limited") {
                    causes.push(forbidden(at.field("limited"), "must be nil if the type is not Limited"));
                }
                check_shares(spec.get("exempt"), &at.field("exempt"), &mut causes);
            }
            "Limited" => {
                if !absent(spec, "/exempt") {
                    causes.push(forbidden(at.field("exempt"), "must be nil if the type is Limited"));
                }
                match spec.get("limited").filter(|limited| limited.is_object()) {
                    None => causes.push(required(at.field("limited"), "must not be empty when type is Limited")),
                    Some(limited) => check_limited(limited, &at.field("limited"), &mut causes),
                }
            }
            _ => {}
        }
        causes
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        let kind = text(object, "/spec/type");
        let number = |pointer: &str| int(object, pointer).map_or("<none>".to_owned(), |number| number.to_string());
        let shares = if kind == "Exempt" { "/spec/exempt" } else { "/spec/limited" };
        let queuing = |field: &str| number(&format!("/spec/limited/limitResponse/queuing/{field}"));
        vec![
            kind.into(),
            number(&format!("{shares}/nominalConcurrencyShares")).into(),
            queuing("queues").into(),
            queuing("handSize").into(),
            queuing("queueLengthLimit").into(),
            age(object, context.now).into(),
        ]
    }
}

fn check_shares(level: Option<&Value>, at: &Path, causes: &mut Vec<Cause>) {
    let Some(level) = level else { return };
    if let Some(shares) = int(level, "/nominalConcurrencyShares").filter(|shares| *shares < 0) {
        causes.push(invalid(at.field("nominalConcurrencyShares"), &shares.into(), "must be a non-negative integer"));
    }
    if let Some(percent) = int(level, "/lendablePercent").filter(|percent| !(0..=100).contains(percent)) {
        causes.push(invalid(at.field("lendablePercent"), &percent.into(), "must be between 0 and 100, inclusive"));
    }
    if let Some(percent) = int(level, "/borrowingLimitPercent").filter(|percent| *percent < 0) {
        let why = "if specified, must be a non-negative integer";
        causes.push(invalid(at.field("borrowingLimitPercent"), &percent.into(), why));
    }
}

fn check_limited(limited: &Value, at: &Path, causes: &mut Vec<Cause>) {
    check_shares(Some(limited), at, causes);
    let at = at.field("limitResponse");
    let kind = text(limited, "/limitResponse/type");
    causes.extend(required_one_of(at.field("type"), kind, &["Queue", "Reject"]));
    let queuing = limited.pointer("/limitResponse/queuing").filter(|queuing| queuing.is_object());
    let path = at.field("queuing");
    match (kind, queuing) {
        ("Reject", Some(_)) => causes.push(forbidden(path, "must be nil if limited.limitResponse.type is not Limited")),
        ("Queue", None) => causes.push(required(path, "must not be empty if limited.limitResponse.type is Limited")),
        ("Queue", Some(queuing)) => check_queuing(queuing, &path, causes),
        _ => {}
    }
}

fn check_queuing(queuing: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let number = |field: &str| int(queuing, &format!("/{field}")).unwrap_or(0);
    let (queues, hand) = (number("queues"), number("handSize"));
    for field in ["queueLengthLimit", "queues", "handSize"] {
        if number(field) <= 0 {
            causes.push(invalid(at.field(field), &number(field).into(), "must be positive"));
        }
    }
    if queues > MAX_QUEUES {
        causes.push(invalid(at.field("queues"), &queues.into(), format!("must not be greater than {MAX_QUEUES}")));
    }
    if hand > queues {
        let why = format!("should not be greater than queues ({queues})");
        causes.push(invalid(at.field("handSize"), &hand.into(), why));
    }
    let bits = i64::from(i64::BITS - queues.max(0).leading_zeros());
    if bits.saturating_mul(hand) > MAX_HASH_BITS {
        let entropy = bits.saturating_mul(hand);
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS} ({entropy})"
        );
        causes.push(invalid(at.field("handSize"), &hand.into(), why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(spec: Value) -> Value {
        let mut object = json!({"spec": spec});
        PriorityLevel.default(&mut object);
        object
    }

    #[test]
    fn a_limited_level_has_shares_and_queues() {
        let object = level(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}));
        assert_eq!(PriorityLevel.validate(&object), []);
        let cells = PriorityLevel.cells(&object, Context { now: jiff::Timestamp::UNIX_EPOCH });
        assert_eq!(cells[..5], ["Limited", "30", "64", "8", "50"].map(Value::from));
        for (spec, field) in [
            (json!({"type": "Limited"}), "spec.limited"),
            (json!({"type": "Sometimes"}), "spec.type"),
            (json!({"type": "Exempt", "limited": {}}), "spec.limited"),
            (
                json!({"type": "Limited", "limited": {"lendablePercent": 101, "limitResponse": {"type": "Reject"}}}),
                "spec.limited.lendablePercent",
            ),
            (
                json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 5}}}}),
                "spec.limited.limitResponse.queuing.handSize",
            ),
        ] {
            assert_eq!(PriorityLevel.validate(&level(spec))[0].field, field);
        }
    }
}
