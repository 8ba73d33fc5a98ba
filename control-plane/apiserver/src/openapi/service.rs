//! What the operations of one group and version are called (`apiserver/pkg/endpoints/openapi`).

/// A group and version.
pub(super) struct Service {
    /// Where it is served.
    pub(super) base: String,
    /// In the names of operations: `AppsV1`.
    pub(super) title: String,
    /// `apps_v1`.
    pub(super) tag: String,
}

impl Service {
    pub(super) fn new(group: &str, version: &str) -> Self {
        let short = short(group);
        Self {
            base: format!("/{}", super::path_of(group, version)),
            title: format!("{}{}", joined(short, true), joined(version, true)),
            tag: format!("{}_{}", joined(short, false), joined(version, false)),
        }
    }
}

/// The group's name as Kubernetes' own groups are called.
pub(super) fn short(group: &str) -> &str {
    match group {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    }
}

/// A name in one word: what is no letter, digit or underscore is left out, and what follows it is written large.
pub(super) fn joined(name: &str, capital: bool) -> String {
    let mut out = String::with_capacity(name.len());
    let mut capital = capital;
    for (index, letter) in name.char_indices() {
        if letter.is_alphabetic() || letter == '_' || (index != 0 && letter.is_numeric()) {
            match std::mem::take(&mut capital) {
                true => out.extend(letter.to_uppercase()),
                false => out.push(letter),
            }
        } else {
            capital = true;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_tags_are_called_as_in_kubernetes() {
        let of = |group: &str, version: &str| {
            let service = Service::new(group, version);
            (service.base, service.title, service.tag)
        };
        let strings = |base: &str, title: &str, tag: &str| (base.to_owned(), title.to_owned(), tag.to_owned());
        assert_eq!(of("", "v1"), strings("/api/v1", "CoreV1", "core_v1"));
        let rbac = strings("/apis/rbac.authorization.k8s.io/v1", "RbacAuthorizationV1", "rbacAuthorization_v1");
        assert_eq!(of("rbac.authorization.k8s.io", "v1"), rbac);
        let custom = strings("/apis/stable.example.com/v1beta1", "StableExampleComV1beta1", "stableExampleCom_v1beta1");
        assert_eq!(of("stable.example.com", "v1beta1"), custom);
        assert_eq!(joined(".well-known", false), "WellKnown");
    }
}
