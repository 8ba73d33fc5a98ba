//! Links in what is proxied: a page knows itself as `/`, and its browser as `…/proxy/`.

use bytes::Bytes;

/// What paths have to begin with, and the host that the page believes it is.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// Without a slash at its end.
    pub(super) prefix: String,
    pub(super) host: String,
}

/// Attributes that hold a link, by element.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

impl Links {
    /// Where a link leads for the browser: paths from the root get the prefix, everything else is as it was.
    pub(super) fn rewritten(&self, link: &str) -> String {
        let own = ["http://", "https://"].iter().find_map(|scheme| link.strip_prefix(scheme)?.strip_prefix(&self.host));
        let path = own.filter(|path| path.is_empty() || path.starts_with('/')).unwrap_or(link);
        let from_root = (path.starts_with('/') && !path.starts_with("//")) || (own.is_some() && path.is_empty());
        if !from_root || path.starts_with(&self.prefix) {
            return link.to_owned();
        }
        format!("{}{path}", self.prefix)
    }

    /// A page with its links rewritten.
    pub(super) fn page(&self, page: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(page.len() + 256);
        let mut rest = page;
        while let Some(at) = memchr::memchr(b'<', rest) {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let length = match rest {
                [b'<', b'!', b'-', b'-', ..] => memchr::memmem::find(rest, b"-->").map_or(rest.len(), |end| end + 3),
                [b'<', letter, ..] if letter.is_ascii_alphabetic() => self.element(rest, &mut out),
                _ => 1,
            };
            // An element has been written already, with what it holds that is no markup.
            if !matches!(rest, [b'<', letter, ..] if letter.is_ascii_alphabetic()) {
                out.extend_from_slice(&rest[..length]);
            }
            rest = &rest[length..];
        }
        out.extend_from_slice(rest);
        out.into()
    }

    /// Writes the tag that `text` begins with. Answers its length, with that of a script's or style's text.
    fn element(&self, text: &[u8], out: &mut Vec<u8>) -> usize {
        let name_end =
            text.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>')).unwrap_or(text.len());
        let name = String::from_utf8_lossy(&text[1..name_end]).to_ascii_lowercase();
        let linking = LINKS.iter().find(|(element, _)| *element == name).map_or(&[][..], |(_, attributes)| attributes);
        let mut at = name_end;
        out.extend_from_slice(&text[..at]);
        while at < text.len() && text[at] != b'>' {
            let name_start = at;
            while at < text.len() && !text[at].is_ascii_whitespace() && !matches!(text[at], b'=' | b'>' | b'/') {
                at += 1;
            }
            if at == name_start {
                out.push(text[at]);
                at += 1;
                continue;
            }
            let attribute = String::from_utf8_lossy(&text[name_start..at]).to_ascii_lowercase();
            while at < text.len() && (text[at].is_ascii_whitespace() || text[at] == b'=') {
                at += 1;
            }
            let has_value = text[name_start..at].contains(&b'=');
            out.extend_from_slice(&text[name_start..at]);
            if !has_value {
                continue;
            }
            let (open, end) = match text.get(at) {
                Some(quote @ (b'"' | b'\'')) => {
                    let end = memchr::memchr(*quote, &text[at + 1..]).map_or(text.len(), |end| at + 1 + end);
                    (at + 1, end)
                }
                _ => {
                    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
                    (at, text[at..].iter().position(ends).map_or(text.len(), |end| at + end))
                }
            };
            out.extend_from_slice(&text[at..open.min(text.len())]);
            let value = &text[open.min(end)..end];
            match std::str::from_utf8(value) {
                Ok(link) if linking.contains(&attribute.as_str()) => out.extend_from_slice(self.rewritten(link).as_bytes()),
                _ => out.extend_from_slice(value),
            }
            at = end;
            // The closing quote.
            if open > 0 && end < text.len() && matches!(text[open - 1], b'"' | b'\'') && text[end] == text[open - 1] {
                out.push(text[end]);
                at += 1;
            }
        }
        let after = if matches!(name.as_str(), "script" | "style") {
            let named = |tag: &usize| {
                let tag = text.get(tag + 2..tag + 2 + name.len());
                tag.is_some_and(|tag| tag.eq_ignore_ascii_case(name.as_bytes()))
            };
            let mut closing = memchr::memmem::find_iter(&text[at..], b"</").map(|tag| at + tag);
            closing.find(named).unwrap_or(text.len())
        } else {
            at
        };
        out.extend_from_slice(&text[at..after]);
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links { prefix: "/api/v1/namespaces/n/pods/p/proxy".to_owned(), host: "api:6443".to_owned() }
    }

    #[test]
    fn paths_from_the_root_get_the_prefix_and_others_do_not() {
        for (link, expected) in [
            ("/a", "/api/v1/namespaces/n/pods/p/proxy/a"),
            ("http://api:6443/a?b=c", "/api/v1/namespaces/n/pods/p/proxy/a?b=c"),
            ("/api/v1/namespaces/n/pods/p/proxy/a", "/api/v1/namespaces/n/pods/p/proxy/a"),
            ("a/b", "a/b"),
            ("//other/a", "//other/a"),
            ("https://other/a", "https://other/a"),
            ("#x", "#x"),
        ] {
            assert_eq!(links().rewritten(link), expected);
        }
    }

    #[test]
    fn only_links_of_a_page_are_rewritten() {
        for (page, expected) in [
            ("<a href=\"/rewriteme\">test</a>", "<a href=\"PREFIX/rewriteme\">test</a>"),
            ("<A class=x HREF='/r' >t</A><img src=/i.png>", "<A class=x HREF='PREFIX/r' >t</A><img src=PREFIX/i.png>"),
            ("<!-- <a href=\"/no\"> --><p title=\"/no\">1 < 2</p>", "<!-- <a href=\"/no\"> --><p title=\"/no\">1 < 2</p>"),
            (
                "<script src='/s.js'>x = '<a href=\"/no\">';</script><br/>",
                "<script src='PREFIX/s.js'>x = '<a href=\"/no\">';</script><br/>",
            ),
            ("<input disabled src=\"/x\"/><a href=", "<input disabled src=\"PREFIX/x\"/><a href="),
            ("<a href=\"/open", "<a href=\"PREFIX/open"),
            ("plain", "plain"),
            ("<", "<"),
            ("<a", "<a"),
        ] {
            let expected = expected.replace("PREFIX", &links().prefix);
            assert_eq!(String::from_utf8_lossy(&links().page(page.as_bytes())), expected);
        }
    }
}
