//! What every [`crate::Store`] must do, for the tests of whoever implements one.

pub mod suite;

use mizzen_api::object::Encoded;
use serde_json::json;

use crate::Txn;

/// A small document with a name and one value to tell versions apart.
pub fn document(name: &str, value: u64) -> Encoded {
    let value = json!({"metadata": {"name": name}, "value": value});
    // The document above has metadata that is not empty, which is all that encoding asks.
    Encoded::from_value(value).unwrap_or_else(|| unreachable!("a document with a name encodes"))
}

/// Puts one key, whatever is there.
pub fn put(key: &str, value: u64) -> Txn {
    Txn { puts: vec![(key.to_owned(), document(key, value))], ..Txn::default() }
}

/// Deletes one key, if it is there.
pub fn delete(key: &str) -> Txn {
    Txn { deletes: vec![key.to_owned()], ..Txn::default() }
}
