//! What a request path names (API concepts, "Resource URIs").

/// A resource, a collection or a subresource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) subresource: String,
    /// The older `/watch/` form of a path.
    pub(super) watch: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path {
    Resource(ResourcePath),
    /// `/api`, `/apis` and what discovery serves below them; empty group means the core group.
    Groups,
    CoreVersions,
    Group(String),
    GroupVersion(String, String),
    Other,
}

pub(super) fn parse(path: &str) -> Path {
    // Decoded before it is split, so that no name can hold a slash.
    let path = percent_decode(path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["api"] => Path::CoreVersions,
        ["apis"] => Path::Groups,
        ["api", version] => Path::GroupVersion(String::new(), (*version).to_owned()),
        ["apis", group] => Path::Group((*group).to_owned()),
        ["apis", group, version] => Path::GroupVersion((*group).to_owned(), (*version).to_owned()),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        _ => Path::Other,
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Path {
    let mut path = ResourcePath { group: group.to_owned(), version: version.to_owned(), ..ResourcePath::default() };
    let mut rest = rest;
    if let ["watch", after @ ..] = rest
        && !after.is_empty()
    {
        path.watch = true;
        rest = after;
    }
    if let ["namespaces", namespace, after @ ..] = rest
        && !after.is_empty()
        && !matches!(after, ["status" | "finalize"])
    {
        path.namespace = (*namespace).to_owned();
        rest = after;
    }
    match rest {
        [resource] => path.resource = (*resource).to_owned(),
        [resource, name] => {
            path.resource = (*resource).to_owned();
            path.name = (*name).to_owned();
        }
        [resource, name, subresource, ..] => {
            path.resource = (*resource).to_owned();
            path.name = (*name).to_owned();
            path.subresource = (*subresource).to_owned();
        }
        [] => return Path::Other,
    }
    Path::Resource(path)
}

/// Decodes `%xx`; anything else stays as it is.
pub(super) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> ResourcePath {
        match parse(text) {
            Path::Resource(path) => path,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn a_path_names_group_namespace_resource_and_subresource() {
        let path = resource("/apis/apps/v1/namespaces/a/deployments/b/scale");
        assert_eq!((&*path.group, &*path.namespace, &*path.name, &*path.subresource), ("apps", "a", "b", "scale"));
        let path = resource("/api/v1/namespaces/a");
        assert_eq!((&*path.namespace, &*path.resource, &*path.name), ("", "namespaces", "a"));
        let path = resource("/api/v1/namespaces/a/finalize");
        assert_eq!((&*path.resource, &*path.name, &*path.subresource), ("namespaces", "a", "finalize"));
        assert_eq!(resource("/api/v1/namespaces/a/pods").resource, "pods");
        assert!(resource("/api/v1/watch/namespaces/a/pods").watch);
        assert_eq!(resource("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode").name, "system:node");
    }

    #[test]
    fn an_encoded_slash_is_a_slash() {
        assert_eq!(resource("/api/v1/namespaces/a%2Fb/pods").resource, "b");
    }

    #[test]
    fn other_paths_are_discovery_or_nothing() {
        assert_eq!(parse("/apis/apps/v1"), Path::GroupVersion("apps".to_owned(), "v1".to_owned()));
        assert_eq!(parse("/api"), Path::CoreVersions);
        assert_eq!(parse("/healthz"), Path::Other);
    }
}
