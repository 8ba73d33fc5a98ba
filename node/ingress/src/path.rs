//! The form of a path that rules are compared with. Servers take `/a/../b`, `/%62` and `//b` for `/b`, most of them: what a
//! request is routed by must be what its server will make of it, or rules for `/b` could be gone round.

use std::borrow::Cow;

/// Without percent-encoding of what needs none (RFC 3986, section 6.2.2.2), dot segments (section 5.2.4) and empty segments.
pub fn normal(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = without_needless_encoding(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_with_slash = false;
    for segment in decoded.split('/').skip(1) {
        ends_with_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_with_slash || segments.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

fn without_needless_encoding(path: &str) -> String {
    let mut parts = path.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                decoded.push(plain);
                decoded.push_str(&part[2..]);
            }
            _ => {
                decoded.push('%');
                decoded.push_str(part);
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_routed_by_what_a_server_makes_of_it() {
        for (path, expected) in [
            ("/a/b/", "/a/b/"),
            ("/", "/"),
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("//admin", "/admin"),
            ("/a/./b//c/.", "/a/b/c/"),
            ("/../../..", "/"),
            ("/a/..", "/"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%zz%", "/a%zz%"),
            ("/.well-known/x", "/.well-known/x"),
            ("/%+1/..", "/"),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_so_and_has_no_dots_left(path in "(/(\\\\.|%2e|%2E|a|%61|%|%2|é)*){1,8}") {
            let once = normal(&path).into_owned();
            prop_assert!(once.starts_with('/'));
            let dotted = once.split('/').any(|segment| matches!(segment, "." | ".."));
            prop_assert!(!dotted, "{}", once);
        }
    }
}
