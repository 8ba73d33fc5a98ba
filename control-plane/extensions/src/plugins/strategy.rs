//! What is checked of a plugin's object besides its schema.

use std::sync::Arc;

use mizzen_api::Quantity;
use mizzen_api::descriptor::{Column, Context, Strategy};
use mizzen_api::schema::Problem;
use mizzen_api::status::Cause;
use mizzen_api::validate::{Path, check_match, check_match_conditions, check_positive_quantity, invalid};
use serde_json::Value;

use crate::policy;

/// Nothing that was compiled from a language runs in less.
const LEAST_MEMORY: i64 = 1 << 20;

pub(super) struct Plugin {
    pub(super) of_schema: Arc<dyn Strategy>,
}

impl Plugin {
    /// What the schema cannot say, once the schema has nothing to object to.
    fn besides(causes: Vec<Cause>, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        if !causes.is_empty() {
            return causes;
        }
        let mut causes = causes;
        let (at, spec) = (Path::root("spec"), &object["spec"]);
        if let Some(memory) = spec.pointer("/limits/memory") {
            check_memory(memory, &at.field("limits").field("memory"), &mut causes);
        }
        if let Some(matching) = spec.get("matchConstraints") {
            check_match(matching, &["resourceRules", "excludeResourceRules"], &at.field("matchConstraints"), &mut causes);
        }
        check_match_conditions(spec, &at, &mut causes);
        causes.extend(policy::check(object, old));
        causes
    }
}

fn check_memory(memory: &Value, at: &Path, causes: &mut Vec<Cause>) {
    let before = causes.len();
    check_positive_quantity(memory, at, causes);
    if causes.len() == before && Quantity::from_value(memory).is_ok_and(|bytes| bytes.value() < LEAST_MEMORY) {
        causes.push(invalid(at, memory, "must be at least 1Mi"));
    }
}

impl Strategy for Plugin {
    /// Match conditions are compiled.
    fn runs_rules(&self) -> bool {
        true
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        Self::besides(self.of_schema.validate(object), object, None)
    }

    fn validate_replacement(&self, object: &Value, old: &Value) -> Vec<Cause> {
        Self::besides(self.of_schema.validate_replacement(object, old), object, Some(old))
    }

    fn problems(&self, object: &Value) -> Option<Vec<Problem>> {
        self.of_schema.problems(object)
    }

    fn default(&self, object: &mut Value) {
        self.of_schema.default(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        self.of_schema.prepare_create(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        self.of_schema.prepare_update(object, old);
    }

    fn has_generation(&self, object: &Value) -> bool {
        self.of_schema.has_generation(object)
    }

    fn is_new_generation(&self, object: &Value, old: &Value) -> bool {
        self.of_schema.is_new_generation(object, old)
    }

    fn validate_subresource_update(&self, subresource: &str, object: &Value, old: &Value) -> Vec<Cause> {
        self.of_schema.validate_subresource_update(subresource, object, old)
    }

    fn columns(&self) -> &[Column] {
        self.of_schema.columns()
    }

    fn cells(&self, object: &Value, context: Context) -> Vec<Value> {
        self.of_schema.cells(object, context)
    }
}
