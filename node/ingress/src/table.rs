//! Which rule a request is for: by its host, then by its path. Pure, and without a word of Ingress: whatever routes by host
//! and path is compiled into these rules.

use std::collections::HashMap;

/// Which hosts a rule is for. Names are in lower case, without port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// Every host, and requests that name none.
    Any,
    Exact(String),
    /// One label before these: `example.com` stands for `*.example.com`.
    OneBelow(String),
}

impl Host {
    /// As Ingress writes it: empty for all, `*.` before a name for one label more.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            _ if text.is_empty() => Self::Any,
            Some(parent) => Self::OneBelow(parent.to_owned()),
            None => Self::Exact(text),
        }
    }
}

/// Which paths a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    Exact(String),
    /// All whose first elements are these; a slash at the end is none.
    Prefix(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<T> {
    pub host: Host,
    pub path: Path,
    /// Counts only where no other rule is for a request.
    pub is_fallback: bool,
    pub then: T,
}

/// By name: those of one host, or of what is below one.
#[derive(Debug)]
pub(crate) struct ByHost<T> {
    exact: HashMap<String, T>,
    one_below: HashMap<String, T>,
    any: Option<T>,
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), one_below: HashMap::new(), any: None }
    }
}

impl<T> ByHost<T> {
    /// What is for the host, made when it is not there.
    pub(crate) fn entry(&mut self, host: Host, new: impl FnOnce() -> T) -> &mut T {
        match host {
            Host::Any => self.any.get_or_insert_with(new),
            Host::Exact(name) => self.exact.entry(name).or_insert_with(new),
            Host::OneBelow(parent) => self.one_below.entry(parent).or_insert_with(new),
        }
    }

    /// What is for a name in lower case, the most particular first.
    pub(crate) fn matching(&self, name: &str) -> impl Iterator<Item = &T> {
        let below = || self.one_below.get(name.split_once('.').filter(|(label, _)| !label.is_empty())?.1);
        self.exact.get(name).into_iter().chain(below()).chain(&self.any)
    }
}

#[derive(Debug)]
struct Paths<T> {
    exact: HashMap<String, T>,
    /// Without the slash at their end: `/` is empty.
    prefixes: HashMap<String, T>,
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: HashMap::new() }
    }
}

impl<T> Paths<T> {
    /// Where two rules are for the same path, the first has it.
    fn add(&mut self, path: Path, then: T) {
        match path {
            Path::Exact(path) => self.exact.entry(path).or_insert(then),
            Path::Prefix(path) => self.prefixes.entry(path.trim_end_matches('/').to_owned()).or_insert(then),
        };
    }

    /// An exact rule before the longest prefix.
    fn find(&self, path: &str) -> Option<&T> {
        if let Some(found) = self.exact.get(path) {
            return Some(found);
        }
        let mut rest = path;
        loop {
            if let Some(found) = self.prefixes.get(rest) {
                return Some(found);
            }
            rest = &rest[..rest.rfind('/')?];
        }
    }
}

/// The rules, by host and path.
#[derive(Debug)]
pub struct Table<T> {
    rules: ByHost<Paths<T>>,
    fallbacks: ByHost<Paths<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rules: ByHost::default(), fallbacks: ByHost::default() }
    }
}

impl<T> Table<T> {
    /// Of two rules for the same host and path, the first has it.
    pub fn new(rules: impl IntoIterator<Item = Rule<T>>) -> Self {
        let mut table = Self::default();
        for rule in rules {
            let layer = if rule.is_fallback { &mut table.fallbacks } else { &mut table.rules };
            layer.entry(rule.host, Paths::default).add(rule.path, rule.then);
        }
        table
    }

    /// What a request is for. `host` is in lower case and without port, `path` in [normal form](crate::path::normal).
    ///
    /// The most particular host that has a rule for the path goes first, then the longest path.
    pub fn find(&self, host: &str, path: &str) -> Option<&T> {
        let mut layers = self.rules.matching(host).chain(self.fallbacks.matching(host));
        layers.find_map(|paths| paths.find(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: &[(&str, &str, &'static str)]) -> Table<&'static str> {
        Table::new(rules.iter().map(|(host, path, then)| {
            let (is_fallback, path) = path.strip_prefix('!').map_or((false, *path), |path| (true, path));
            let path = match path.strip_prefix('=') {
                Some(exact) => Path::Exact(exact.to_owned()),
                None => Path::Prefix(path.to_owned()),
            };
            Rule { host: Host::parse(host), path, is_fallback, then: *then }
        }))
    }

    /// The table of examples of the Ingress documentation: kind, path of the rule, path of the request, whether it matches.
    #[test]
    fn paths_match_as_the_ingress_documentation_has_it() {
        for (rule, request, matches) in [
            ("/", "/anything", true),
            ("=/foo", "/foo", true),
            ("=/foo", "/bar", false),
            ("=/foo", "/foo/", false),
            ("=/foo/", "/foo", false),
            ("/foo", "/foo", true),
            ("/foo", "/foo/", true),
            ("/foo/", "/foo", true),
            ("/foo/", "/foo/", true),
            ("/aaa/bb", "/aaa/bbb", false),
            ("/aaa/bbb", "/aaa/bbb", true),
            ("/aaa/bbb/", "/aaa/bbb", true),
            ("/aaa/bbb", "/aaa/bbb/", true),
            ("/aaa/bbb", "/aaa/bbb/ccc", true),
            ("/aaa/bbb", "/aaa/bbbxyz", false),
            ("/Foo", "/foo", false),
        ] {
            let found = table(&[("", rule, "it")]).find("a.example", request).is_some();
            assert_eq!(found, matches, "{rule} for {request}");
        }
    }

    #[test]
    fn the_longest_path_goes_first_and_an_exact_one_before_a_prefix() {
        let table = table(&[("", "/", "root"), ("", "/aaa", "prefix"), ("", "/aaa/bbb", "longer"), ("", "=/aaa", "exact")]);
        for (path, then) in [
            ("/aaa", "exact"),
            ("/aaa/", "prefix"),
            ("/aaa/ccc", "prefix"),
            ("/aaa/bbb/c", "longer"),
            ("/ccc", "root"),
            ("/", "root"),
        ] {
            assert_eq!(table.find("", path), Some(&then), "{path}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label_and_an_exact_host_goes_before_it() {
        let table = table(&[("*.foo.com", "/", "wild"), ("bar.foo.com", "/", "exact"), ("", "/", "any")]);
        for (host, then) in [
            ("bar.foo.com", "exact"),
            ("baz.foo.com", "wild"),
            ("a.baz.foo.com", "any"),
            ("foo.com", "any"),
            (".foo.com", "any"),
            ("", "any"),
        ] {
            assert_eq!(table.find(host, "/"), Some(&then), "{host}");
        }
        assert_eq!(Host::parse("*.FOO.com"), Host::OneBelow("foo.com".to_owned()));
    }

    #[test]
    fn a_host_without_a_rule_for_the_path_leaves_it_to_less_particular_ones() {
        let table = table(&[("a.foo.com", "/x", "exact"), ("*.foo.com", "/y", "wild"), ("", "/z", "any")]);
        let found = |path: &str| table.find("a.foo.com", path).copied();
        assert_eq!((found("/x"), found("/y"), found("/z"), found("/")), (Some("exact"), Some("wild"), Some("any"), None));
    }

    #[test]
    fn fallbacks_count_after_all_rules_the_hosts_own_first() {
        let table = table(&[("", "!/", "of all"), ("a.foo.com", "!/", "of a"), ("a.foo.com", "/x", "rule"), ("", "/z", "any")]);
        for (host, path, then) in
            [("a.foo.com", "/x", "rule"), ("a.foo.com", "/z", "any"), ("a.foo.com", "/y", "of a"), ("b.foo.com", "/x", "of all")]
        {
            assert_eq!(table.find(host, path), Some(&then), "{host}{path}");
        }
    }

    #[test]
    fn the_first_of_two_rules_for_the_same_has_it() {
        let table = table(&[("a.b", "/x", "first"), ("a.b", "/x/", "second"), ("a.b", "=/x", "exact"), ("a.b", "=/x", "later")]);
        assert_eq!((table.find("a.b", "/x/"), table.find("a.b", "/x")), (Some(&"first"), Some(&"exact")));
    }
}
