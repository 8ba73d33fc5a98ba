//! Which objects a user means: `pods`, `pod a b`, `pods,services`, `pod/a deploy/b`, or those in files.

use anyhow::bail;
use serde_json::Value;

use super::manifests::{self, Manifest};
use super::resources::{Catalogue, Resource};
use super::session::{Session, escape};

/// An object, or all of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub resource: Resource,
    pub name: Option<String>,
    /// The namespace that a file says.
    pub namespace: Option<String>,
}

impl Target {
    /// The path of the object or collection; `everywhere` is the collection in all namespaces.
    pub fn path(&self, session: &Session, everywhere: bool) -> String {
        let namespace = self.namespace.as_deref().unwrap_or(&session.namespace);
        let collection = self.resource.path((!everywhere).then_some(namespace));
        match &self.name {
            Some(name) => format!("{collection}/{}", escape(name)),
            None => collection,
        }
    }

    /// The object in a file.
    ///
    /// # Errors
    /// When it does not say what it is, or the server does not serve its kind.
    pub fn of(manifest: &Manifest, catalogue: &Catalogue) -> anyhow::Result<Self> {
        let (api_version, kind, name) = manifest.identify()?;
        let Some(resource) = catalogue.of_kind(api_version, kind) else {
            let namespace = manifest.namespace().unwrap_or_default();
            bail!(
                "resource mapping not found for name: {name:?} namespace: {namespace:?} from {:?}: no matches for kind {kind:?} in version {api_version:?}\nensure CRDs are installed first",
                manifest.from
            );
        };
        check_name(name)?;
        let namespace = manifest.namespace().map(str::to_owned);
        Ok(Self { resource: resource.clone(), name: Some(name.to_owned()), namespace })
    }
}

/// Without a name, or with one that is more than a name, a path leads elsewhere: to everything there is, say.
///
/// # Errors
/// Names what cannot be a name.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    if name.is_empty() {
        bail!("resource name may not be empty");
    }
    if matches!(name, "." | "..") || name.contains(['/', '%']) {
        bail!("invalid resource name {name:?}");
    }
    Ok(())
}

/// What the words on the command line mean.
///
/// # Errors
/// When they mean nothing, or what the server does not have.
pub fn parse(catalogue: &Catalogue, words: &[String]) -> anyhow::Result<Vec<Target>> {
    let target = |resource: Resource, name: Option<&str>| Target { resource, name: name.map(str::to_owned), namespace: None };
    let Some((types, names)) = words.split_first() else { return Ok(Vec::new()) };
    if words.iter().any(|word| word.contains('/')) {
        let named = words.iter().map(|word| {
            let Some((kind, name)) = word.split_once('/') else {
                bail!(
                    "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'mizzen get resource/<resource_name>' instead of 'mizzen get resource resource/<resource_name>'"
                );
            };
            if name.contains('/') {
                bail!("arguments in resource/name form may not have more than one slash");
            }
            if kind.is_empty() || name.is_empty() || kind.contains(',') {
                bail!("arguments in resource/name form must have a single resource and name");
            }
            check_name(name)?;
            Ok(target(catalogue.resolve(kind)?.remove(0), Some(name)))
        });
        return named.collect();
    }
    names.iter().try_for_each(|name| check_name(name))?;
    let mut targets = Vec::new();
    for resource in types.split(',').filter(|word| !word.is_empty()) {
        for resource in catalogue.resolve(resource)? {
            match names {
                [] => targets.push(target(resource, None)),
                names => targets.extend(names.iter().map(|name| target(resource.clone(), Some(name)))),
            }
        }
    }
    Ok(targets)
}

/// An object in a namespace is not found by its name in all of them; what a file names says where it is.
///
/// # Errors
/// For such an object.
pub fn check_everywhere(targets: &[Target]) -> anyhow::Result<()> {
    let is_somewhere = |target: &Target| target.resource.namespaced && target.name.is_some() && target.namespace.is_none();
    if targets.iter().any(is_somewhere) {
        bail!("a resource cannot be retrieved by name across all namespaces");
    }
    Ok(())
}

/// What is in files.
///
/// # Errors
/// As [`manifests::read`] and [`Target::of`].
pub fn in_files(catalogue: &Catalogue, files: &manifests::Files) -> anyhow::Result<Vec<Target>> {
    files.read()?.iter().map(|manifest| Target::of(manifest, catalogue)).collect()
}

/// The objects in an answer: the items of a list, or the one object.
pub fn objects(answer: Value) -> Vec<Value> {
    match answer {
        Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
            let (kind, api_version) = (list.get("kind").cloned(), list.get("apiVersion").cloned());
            let kind = kind.as_ref().and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
            let Some(Value::Array(mut items)) = list.remove("items") else { return Vec::new() };
            // The items of a list of one kind do not say it.
            for item in items.iter_mut().filter_map(Value::as_object_mut) {
                if let (Some(kind), Some(api_version)) = (&kind, &api_version) {
                    item.entry("kind").or_insert_with(|| kind.clone().into());
                    item.entry("apiVersion").or_insert_with(|| api_version.clone());
                }
            }
            items
        }
        object => vec![object],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meant(words: &[&str]) -> anyhow::Result<Vec<String>> {
        let catalogue = Catalogue::of(&[("", "v1", "pods", "Pod", "po"), ("apps", "v1", "deployments", "Deployment", "deploy")]);
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let targets = parse(&catalogue, &words)?;
        Ok(targets.iter().map(|target| format!("{} {}", target.resource.plural, target.name.as_deref().unwrap_or("*"))).collect())
    }

    #[test]
    fn words_are_resources_names_or_both() {
        assert_eq!(meant(&["po,deploy"]).expect("is good"), ["pods *", "deployments *"]);
        assert_eq!(meant(&["all"]).expect("is good"), ["pods *", "deployments *"]);
        assert_eq!(meant(&["pod", "a", "b"]).expect("is good"), ["pods a", "pods b"]);
        assert_eq!(meant(&["pod/a", "deployment.apps/b"]).expect("is good"), ["pods a", "deployments b"]);
        assert_eq!(meant(&[]).expect("is good"), Vec::<String>::new());
        for wrong in
            [&["pod", "pod/a"][..], &["pod/"], &["/a"], &["pod/a/b"], &["nothing"], &["pod", ""], &["pod", ".."], &["pod/%2e"]]
        {
            assert!(meant(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_an_object_of_no_namespace_is_found_by_its_name_in_all_of_them() {
        let catalogue = Catalogue::of(&[("", "v1", "pods", "Pod", "po"), ("", "v1", "nodes", "Node", "no")]);
        let everywhere = |words: &[&str], namespaced: bool| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let mut targets = parse(&catalogue, &words).expect("is good");
            targets.iter_mut().for_each(|target| target.resource.namespaced = namespaced);
            check_everywhere(&targets)
        };
        assert!(everywhere(&["pods"], true).is_ok() && everywhere(&["node", "a"], false).is_ok());
        let refused = everywhere(&["pod", "a"], true).expect_err("is somewhere");
        assert_eq!(refused.to_string(), "a resource cannot be retrieved by name across all namespaces");
    }

    #[test]
    fn the_items_of_a_list_say_what_they_are() {
        let list = json!({"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]});
        assert_eq!(objects(list), [json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})]);
        assert_eq!(objects(json!({"kind": "Pod"})), [json!({"kind": "Pod"})]);
    }
}
