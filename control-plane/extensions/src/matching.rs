//! What a webhook or a policy is asked about: its rules and selectors.

use mizzen_api::GroupVersion;
use mizzen_api::selector::LabelSelector;
use serde_json::Value;

/// What a request is about, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'a str,
    /// In which the request came.
    pub spoken: &'a GroupVersion,
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    pub name: &'a str,
    pub is_namespaced: bool,
    /// All groups and versions in which the same objects are served.
    pub equivalents: &'a [GroupVersion],
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

    /// Whether the rule is about the request if it came in `form`.
    fn matches(&self, subject: &Subject<'_>, form: &GroupVersion) -> bool {
        self.is_about(subject, form) && (self.names.is_empty() || self.names.iter().any(|name| name == subject.name))
    }

    /// Whatever the object's name.
    fn is_about(&self, subject: &Subject<'_>, form: &GroupVersion) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let fits = |part: &str, wanted: &str| part == "*" || part == wanted;
        let scope = match self.scope.as_str() {
            "Cluster" => !subject.is_namespaced,
            "Namespaced" => subject.is_namespaced,
            _ => true,
        };
        scope
            && has(&self.operations, subject.operation)
            && has(&self.groups, &form.group)
            && has(&self.versions, &form.version)
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

    /// The group and version in which the request is looked at; `None` when no rule is about it.
    pub fn form<'a>(&self, subject: &Subject<'a>) -> Option<&'a GroupVersion> {
        let found = |rules: &[Rule]| self.forms(subject).find(|form| rules.iter().any(|rule| rule.matches(subject, form)));
        if found(&self.excluded).is_some() {
            return None;
        }
        if self.rules.is_empty() && self.is_open { Some(subject.spoken) } else { found(&self.rules) }
    }

    /// What rules may be about: that of the request first.
    fn forms<'a>(&self, subject: &Subject<'a>) -> impl Iterator<Item = &'a GroupVersion> + use<'a> {
        let others = if self.is_exact { &[] } else { subject.equivalents };
        std::iter::once(subject.spoken).chain(others)
    }

    /// Whether some object of the resource may match, whatever its name and labels.
    pub fn may_match(&self, subject: &Subject<'_>) -> bool {
        self.forms(subject).any(|form| self.rules.iter().any(|rule| rule.is_about(subject, form)))
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
    use std::sync::LazyLock;

    use serde_json::json;

    use super::*;

    static SPOKEN: LazyLock<GroupVersion> = LazyLock::new(|| GroupVersion::new("example.com", "v1"));

    fn subject<'a>(resource: &'a str, subresource: &'a str, equivalents: &'a [GroupVersion]) -> Subject<'a> {
        Subject { operation: "CREATE", spoken: &SPOKEN, resource, subresource, name: "a", is_namespaced: true, equivalents }
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
            assert_eq!(matching.form(&subject("as", subresource, &[])).is_some(), matches, "{rule} {subresource}");
        }
    }

    #[test]
    fn other_versions_match_where_equivalents_do() {
        let others = [SPOKEN.clone(), GroupVersion::new("example.com", "v2"), GroupVersion::new("", "v1")];
        let rule = json!({"apiVersions": ["v2"]});
        assert_eq!(rules(rule.clone(), "Exact").form(&subject("as", "", &others)), None);
        assert_eq!(rules(rule, "Equivalent").form(&subject("as", "", &others)), Some(&others[1]));
        let core = json!({"apiGroups": [""]});
        assert_eq!(rules(core.clone(), "Exact").form(&subject("as", "", &others)), None);
        assert_eq!(rules(core, "Equivalent").form(&subject("as", "", &others)), Some(&others[2]));
    }

    #[test]
    fn scopes_names_and_exclusions_narrow_a_rule() {
        assert_eq!(rules(json!({"scope": "Cluster"}), "Exact").form(&subject("as", "", &[])), None);
        assert_eq!(rules(json!({"resourceNames": ["b"]}), "Exact").form(&subject("as", "", &[])), None);
        let named = rules(json!({"resourceNames": ["b"]}), "Exact");
        assert!(named.may_match(&subject("as", "", &[])) && !named.may_match(&subject("bs", "", &[])));
        let rule = json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        let both = json!({"resourceRules": [rule], "excludeResourceRules": [rule]});
        assert_eq!(Matching::parse(&both, "resourceRules", false).form(&subject("as", "", &[])), None);
        assert_eq!(Matching::parse(&json!({}), "resourceRules", true).form(&subject("as", "", &[])), Some(&*SPOKEN));
        assert_eq!(Matching::parse(&json!({}), "resourceRules", false).form(&subject("as", "", &[])), None);
    }

    #[test]
    fn either_object_may_have_the_labels() {
        let matching = Matching::parse(&json!({"objectSelector": {"matchLabels": {"a": "b"}}}), "rules", true);
        let labelled = json!({"metadata": {"labels": {"a": "b"}}});
        assert!(matching.selects_object(Some(&json!({})), Some(&labelled)));
        assert!(!matching.selects_object(Some(&json!({})), None));
    }
}
