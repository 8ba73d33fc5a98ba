//! What a webhook or a policy is asked about: its rules and selectors.

use mizzen_api::selector::LabelSelector;
use serde_json::Value;

/// What a request is about, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub name: &'a str,
    pub is_namespaced: bool,
    /// All versions in which the resource is served.
    pub versions: &'a [String],
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    /// `Cluster`, `Namespaced` or `*`.
    scope: String,
}

impl Rule {
    fn parse(rule: &Value) -> Self {
        let list = |field: &str| -> Vec<String> {
            rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            operations: list("operations"),
            groups: list("apiGroups"),
            versions: list("apiVersions"),
            resources: list("resources"),
            names: list("resourceNames"),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
        }
    }

    /// Whether the rule is about the request if it came in `version`.
    fn matches(&self, subject: &Subject<'_>, version: &str) -> bool {
        self.is_about(subject, version) && (self.names.is_empty() || self.names.iter().any(|name| name == subject.name))
    }

    /// Whatever the object's name.
    fn is_about(&self, subject: &Subject<'_>, version: &str) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let fits = |part: &str, wanted: &str| part == "*" || part == wanted;
        let scope = match self.scope.as_str() {
            "Cluster" => !subject.is_namespaced,
            "Namespaced" => subject.is_namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, subject.operation)
            && has(&self.groups, subject.group)
            && has(&self.versions, version)
            && self.resources.iter().any(|rule| {
                let (resource, subresource) = rule.split_once('/').unwrap_or((rule, ""));
                fits(resource, subject.resource) && fits(subresource, subject.subresource)
            })
    }
}

/// `MatchResources`, or what a webhook has of it.
#[derive(Debug)]
pub struct Matching {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    is_exact: bool,
    /// No rules at all match everything: a binding that says no more than its policy.
    is_open: bool,
}

impl Matching {
    /// `rules` is the field that has the rules.
    pub fn parse(document: &Value, rules: &str, is_open: bool) -> Self {
        let list = |field: &str| document[field].as_array().into_iter().flatten().map(Rule::parse).collect::<Vec<_>>();
        let selector = |field: &str| match document.get(field).filter(|selector| !selector.is_null()) {
            None => LabelSelector::everything(),
            // What is no selector is refused when it is written.
            Some(selector) => LabelSelector::from_document(Some(selector)).unwrap_or_else(|_| LabelSelector::nothing()),
        };
        Self {
            rules: list(rules),
            excluded: list("excludeResourceRules"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            is_exact: document["matchPolicy"] == "Exact",
            is_open,
        }
    }

    /// The version in which the request is looked at; `None` when no rule is about it.
    pub fn version<'a>(&self, subject: &Subject<'a>) -> Option<&'a str> {
        let found = |rules: &[Rule]| {
            let others = if self.is_exact { &[] } else { subject.versions };
            std::iter::once(subject.version)
                .chain(others.iter().map(String::as_str))
                .find(|version| rules.iter().any(|rule| rule.matches(subject, version)))
        };
        if found(&self.excluded).is_some() {
            return None;
        }
        if self.rules.is_empty() && self.is_open { Some(subject.version) } else { found(&self.rules) }
    }

    /// Whether some object of the resource may match, whatever its name and labels.
    pub fn may_match(&self, subject: &Subject<'_>) -> bool {
        let others = if self.is_exact { &[] } else { subject.versions };
        let mut versions = std::iter::once(subject.version).chain(others.iter().map(String::as_str));
        versions.any(|version| self.rules.iter().any(|rule| rule.is_about(subject, version)))
    }

    /// Whether a rule names the group itself, and not only by `*`.
    pub fn names_group(&self, group: &str) -> bool {
        self.rules.iter().any(|rule| rule.groups.iter().any(|named| named == group))
    }

    /// Whether the new or the old object has the labels that are asked for.
    pub fn selects_object(&self, object: Option<&Value>, old: Option<&Value>) -> bool {
        self.objects.is_everything()
            || object.into_iter().chain(old).any(|object| self.objects.matches_value(object.pointer("/metadata/labels")))
    }

    pub fn is_for_all_namespaces(&self) -> bool {
        self.namespaces.is_everything()
    }

    /// Whether a namespace has the labels that are asked for.
    pub fn selects_namespace(&self, labels: Option<&Value>) -> bool {
        self.namespaces.matches_value(labels)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject<'a>(resource: &'a str, subresource: &'a str, versions: &'a [String]) -> Subject<'a> {
        Subject {
            operation: "CREATE",
            group: "example.com",
            version: "v1",
            resource,
            subresource,
            name: "a",
            is_namespaced: true,
            versions,
        }
    }

    fn rules(rule: Value, policy: &str) -> Matching {
        let mut all = json!({"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["as"]});
        all.as_object_mut().expect("an object").extend(rule.as_object().expect("an object").clone());
        Matching::parse(&json!({"resourceRules": [all], "matchPolicy": policy}), "resourceRules", false)
    }

    #[test]
    fn resources_and_subresources_are_matched_by_their_parts() {
        for (rule, subresource, matches) in [
            ("as", "", true),
            ("as", "status", false),
            ("as/status", "status", true),
            ("as/*", "", true),
            ("as/*", "scale", true),
            ("*", "", true),
            ("*", "status", false),
            ("*/*", "status", true),
            ("*/scale", "scale", true),
            ("bs", "", false),
        ] {
            let matching = rules(json!({"resources": [rule]}), "Exact");
            assert_eq!(matching.version(&subject("as", subresource, &[])).is_some(), matches, "{rule} {subresource}");
        }
    }

    #[test]
    fn other_versions_match_where_equivalents_do() {
        let versions = ["v1".to_owned(), "v2".to_owned()];
        let rule = json!({"apiVersions": ["v2"]});
        assert_eq!(rules(rule.clone(), "Exact").version(&subject("as", "", &versions)), None);
        assert_eq!(rules(rule, "Equivalent").version(&subject("as", "", &versions)), Some("v2"));
    }

    #[test]
    fn scopes_names_and_exclusions_narrow_a_rule() {
        assert_eq!(rules(json!({"scope": "Cluster"}), "Exact").version(&subject("as", "", &[])), None);
        assert_eq!(rules(json!({"resourceNames": ["b"]}), "Exact").version(&subject("as", "", &[])), None);
        let named = rules(json!({"resourceNames": ["b"]}), "Exact");
        assert!(named.may_match(&subject("as", "", &[])) && !named.may_match(&subject("bs", "", &[])));
        let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        let both = json!({"resourceRules": [rule], "excludeResourceRules": [rule]});
        assert_eq!(Matching::parse(&both, "resourceRules", false).version(&subject("as", "", &[])), None);
        assert_eq!(Matching::parse(&json!({}), "resourceRules", true).version(&subject("as", "", &[])), Some("v1"));
        assert_eq!(Matching::parse(&json!({}), "resourceRules", false).version(&subject("as", "", &[])), None);
    }

    #[test]
    fn either_object_may_have_the_labels() {
        let matching = Matching::parse(&json!({"objectSelector": {"matchLabels": {"a": "b"}}}), "rules", true);
        let labelled = json!({"metadata": {"labels": {"a": "b"}}});
        assert!(matching.selects_object(Some(&json!({})), Some(&labelled)));
        assert!(!matching.selects_object(Some(&json!({})), None));
    }
}
