//! `resource.Quantity` values.

use serde_json::Value;

use super::{Path, invalid};
use crate::quantity::Quantity;
use crate::status::Cause;

/// An amount of something, which may not be negative.
pub fn check_quantity(amount: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match Quantity::from_value(amount) {
        Ok(quantity) if quantity.is_negative() => causes.push(invalid(at, amount, "must be greater than or equal to 0")),
        Ok(_) => {}
        Err(error) => causes.push(invalid(at, amount, error)),
    }
}

/// An amount that must be more than nothing.
pub fn check_positive_quantity(amount: &Value, at: &Path, causes: &mut Vec<Cause>) {
    match Quantity::from_value(amount) {
        Ok(quantity) if quantity.is_negative() || quantity.is_zero() => {
            causes.push(invalid(at, amount, "must be greater than zero"));
        }
        Ok(_) => {}
        Err(error) => causes.push(invalid(at, amount, error)),
    }
}
