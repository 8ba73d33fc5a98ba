//! Field names as expressions write them ("Validation rules", table of escapes).

use std::borrow::Cow;

use mizzen_api::validate::CEL_RESERVED;

/// The name of a field in expressions.
pub(super) fn escape(name: &str) -> Cow<'_, str> {
    if CEL_RESERVED.contains(&name) {
        return Cow::Owned(format!("__{name}__"));
    }
    if !name.contains("__") && !name.contains(['.', '-', '/']) {
        return Cow::Borrowed(name);
    }
    let escaped = name.replace("__", "__underscores__");
    Cow::Owned(escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

/// The field that a name in an expression stands for.
pub(super) fn unescape(name: &str) -> Cow<'_, str> {
    let reserved = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    if let Some(reserved) = reserved.filter(|reserved| CEL_RESERVED.contains(reserved)) {
        return Cow::Borrowed(reserved);
    }
    if !name.contains("__") {
        return Cow::Borrowed(name);
    }
    let signs = name.replace("__dot__", ".").replace("__dash__", "-").replace("__slash__", "/");
    Cow::Owned(signs.replace("__underscores__", "__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_kubernetes_escapes_them() {
        for (name, escaped) in [
            ("replicas", "replicas"),
            ("namespace", "__namespace__"),
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("a__b", "a__underscores__b"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(escape(name), escaped);
            assert_eq!(unescape(escaped), name);
        }
    }
}
