//! Which Ingresses the cluster's own proxies serve, and what these and the control plane tell each other. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::Value;

/// `spec.controller` of the classes that the cluster's own proxies serve.
pub const CONTROLLER: &str = "mizzen.dev/ingress";
/// Annotation of a class (well-known): ingresses that name none get it.
pub const IS_DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// Annotation of an ingress: the older way to name a class.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Annotation of a node: where its proxy is reached, addresses and host names with commas between them.
pub const ADDRESSES: &str = "mizzen.dev/ingress-addresses";

/// The class that an ingress gets that names none: of several defaults the newest.
pub fn default_class<'a>(classes: impl IntoIterator<Item = &'a IngressClass>) -> Option<&'a IngressClass> {
    let marked = |class: &&IngressClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(IS_DEFAULT_CLASS)).is_some_and(|value| value == "true")
    };
    let created = |class: &IngressClass| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
    classes.into_iter().filter(marked).min_by_key(|class| (Reverse(created(class)), class.metadata.name.clone()))
}

/// The class that an ingress names.
pub fn class_of(ingress: &Ingress) -> Option<&str> {
    let annotations = ingress.metadata.annotations.as_ref();
    let named = annotations.and_then(|all| all.get(CLASS_ANNOTATION)).map(String::as_str);
    let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    class.or(named).filter(|class| !class.is_empty())
}

/// The name of the class that a new ingress is given: none if it names one itself.
pub fn class_to_give(ingress: &Value, classes: Vec<Value>) -> Option<String> {
    // What is no ingress is told so by the kind's own checks.
    let ingress: Ingress = serde_json::from_value(ingress.clone()).ok()?;
    if class_of(&ingress).is_some() {
        return None;
    }
    let classes: Vec<IngressClass> = classes.into_iter().filter_map(|class| serde_json::from_value(class).ok()).collect();
    default_class(&classes)?.metadata.name.clone()
}

/// The classes of the cluster's own proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnClasses {
    names: BTreeSet<String>,
    /// Whether one of them is what an ingress without a class would get: one that is older than the class, say.
    is_default: bool,
}

impl OwnClasses {
    pub fn of<'a>(classes: impl IntoIterator<Item = &'a IngressClass> + Clone) -> Self {
        let is_own =
            |class: &IngressClass| class.spec.as_ref().is_some_and(|spec| spec.controller.as_deref() == Some(CONTROLLER));
        let names = classes.clone().into_iter().filter(|class| is_own(class)).filter_map(|class| class.metadata.name.clone());
        Self { names: names.collect(), is_default: default_class(classes).is_some_and(is_own) }
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn serve(&self, ingress: &Ingress) -> bool {
        class_of(ingress).map_or(self.is_default, |class| self.names.contains(class))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, controller: &str, created: &str, is_default: bool) -> IngressClass {
        let metadata =
            json!({"name": name, "creationTimestamp": created, "annotations": {IS_DEFAULT_CLASS: is_default.to_string()}});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"controller": controller}})).expect("is a class")
    }

    fn ingress(spec: Value, annotations: Value) -> Ingress {
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": spec})).expect("is an ingress")
    }

    #[test]
    fn the_newest_default_class_is_the_default() {
        let (old, new) = ("2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z");
        let classes =
            [class("a", "x", old, true), class("c", "x", new, true), class("b", "x", new, true), class("d", "x", new, false)];
        assert_eq!(default_class(&classes).and_then(|class| class.metadata.name.as_deref()), Some("b"));
        assert!(default_class(&classes[3..]).is_none());
    }

    #[test]
    fn an_ingress_without_a_class_is_given_the_default_one() {
        let class = json!({"metadata": {"name": "c", "annotations": {IS_DEFAULT_CLASS: "true"}}, "spec": {"controller": "x"}});
        let given = |ingress: Value| class_to_give(&ingress, vec![class.clone()]);
        assert_eq!(given(json!({"spec": {}})).as_deref(), Some("c"));
        assert_eq!(given(json!({"spec": {"ingressClassName": "own"}})), None);
        assert_eq!(given(json!({"metadata": {"annotations": {CLASS_ANNOTATION: "own"}}, "spec": {}})), None);
        assert_eq!(class_to_give(&json!({"spec": {}}), Vec::new()), None);
    }

    #[test]
    fn ingresses_of_own_classes_are_served_and_those_of_none_if_an_own_one_is_the_default() {
        let time = "2024-01-01T00:00:00Z";
        let (own, other) = (class("mizzen", CONTROLLER, time, true), class("nginx", "k8s.io/ingress-nginx", time, false));
        let classes = OwnClasses::of(&[own.clone(), other.clone()]);
        assert!(classes.serve(&ingress(json!({"ingressClassName": "mizzen"}), json!({}))));
        assert!(classes.serve(&ingress(json!({}), json!({CLASS_ANNOTATION: "mizzen"}))));
        assert!(classes.serve(&ingress(json!({}), json!({}))));
        assert!(!classes.serve(&ingress(json!({"ingressClassName": "nginx"}), json!({}))));
        assert!(!classes.serve(&ingress(json!({}), json!({CLASS_ANNOTATION: "nginx"}))));
        let newer = class("nginx", "k8s.io/ingress-nginx", "2025-01-01T00:00:00Z", true);
        assert!(!OwnClasses::of(&[own, newer]).serve(&ingress(json!({}), json!({}))));
    }
}
