//! Under which keys answers are kept. Their parts end with a zero byte, which is in no name and no selector.

use mizzen_api::GroupVersionResource;

pub(crate) const END: char = '\0';

/// A resource of any group, up to where its namespaces follow.
pub(crate) fn resource(of: &GroupVersionResource) -> String {
    format!("{}{END}{}{END}{}{END}", of.group, of.version, of.resource)
}

/// A list or watch: of which objects.
pub(crate) fn scope(of: &GroupVersionResource, namespace: &str, labels: &str, fields: &str) -> String {
    format!("{}{namespace}{END}{labels}{END}{fields}{END}", resource(of))
}

/// One object, in a scope or of a resource, whose key comes before.
pub(crate) fn object(before: &str, namespace: &str, name: &str) -> String {
    format!("{before}{namespace}{END}{name}")
}

/// A token for a pod; `spec` is what was asked for.
pub(crate) fn token(uid: &str, namespace: &str, account: &str, spec: &str) -> String {
    format!("{uid}{END}{namespace}{END}{account}{END}{spec}")
}

/// The parts of a key.
pub(crate) fn parts(key: &str) -> Vec<&str> {
    key.split(END).collect()
}

/// The first key after all that begin with `prefix`, which ends with a zero byte.
pub(crate) fn after(prefix: &str) -> String {
    format!("{}\u{1}", prefix.strip_suffix(END).unwrap_or(prefix))
}
