//! JSON pointers (RFC 6901) where requests read them: `serde_json`'s own copies every step of them.

use serde_json::Value;

/// What is at a JSON pointer.
pub trait Pointed {
    /// As [`Value::pointer`].
    fn at(&self, pointer: &str) -> Option<&Value>;
}

impl Pointed for Value {
    fn at(&self, pointer: &str) -> Option<&Value> {
        let Some(steps) = pointer.strip_prefix('/').filter(|steps| !steps.contains('~')) else { return self.pointer(pointer) };
        let mut value = self;
        let mut left = Some(steps);
        while let Some(steps) = left {
            let (step, rest) = steps.split_once('/').map_or((steps, None), |(step, rest)| (step, Some(rest)));
            value = match value {
                Value::Object(fields) => fields.get(step)?,
                // Places in lists are named seldom.
                other => return other.pointer(&format!("/{steps}")),
            };
            left = rest;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_is_found_as_by_the_other_way() {
        let document = json!({"a": {"b": [{"c": 1}, 2], "": {"": 3}, "x/y": {"m~n": 4}}, "": 5, "0": 6});
        for pointer in [
            "",
            "/",
            "/a",
            "/a/b",
            "/a/b/0",
            "/a/b/0/c",
            "/a/b/01",
            "/a/b/+1",
            "/a/b/1/c",
            "/a/b/-",
            "/a//",
            "/a/",
            "//",
            "/0",
            "a",
            "/a/x~1y",
            "/a/x~1y/m~0n",
            "/none",
            "/none/b",
            "/a/b/7",
            "/~",
            "/a/b/0/c/d",
        ] {
            assert_eq!(document.at(pointer), document.pointer(pointer), "{pointer:?}");
        }
        assert_eq!(document.at("/a/b/0/c"), Some(&json!(1)));
    }
}
