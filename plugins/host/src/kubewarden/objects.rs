//! Objects of the cluster as policies ask for them: selected, and cut down to the fields that they want.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use mizzen_api::{FieldSelector, LabelSelector};
use serde_json::Value;

use crate::policy::Take;

/// What of a list is wanted, and how long it may be.
pub(super) struct Wanted<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) labels: &'a str,
    pub(super) fields: &'a str,
    pub(super) masks: Option<&'a [String]>,
    /// Bytes.
    pub(super) most: usize,
    /// When the call that asks must have ended.
    pub(super) until: Instant,
}

/// A Kubernetes list of the objects (JSON) that `all` hands over, which answers whether the policy may ask for them. It is told to
/// break off where the list fails.
///
/// # Errors
/// When it may not ask, a selector is none, or the list is too long: a part of it would be taken for the whole.
pub(super) fn list(wanted: &Wanted<'_>, all: impl FnOnce(Take<'_>) -> bool) -> Result<Vec<u8>, String> {
    let Wanted { api_version, kind, most, until, .. } = *wanted;
    let choice = Choice::new(wanted)?;
    let head = serde_json::json!({"apiVersion": api_version, "kind": format!("{kind}List"), "metadata": {}}).to_string();
    let mut list = head.into_bytes();
    // In place of the last brace.
    list.pop();
    list.extend_from_slice(b",\"items\":[");
    let mut is_first = true;
    let mut add = |object: &str| -> Result<(), String> {
        if Instant::now() > until {
            return Err(format!("the list of {api_version} {kind} took too long"));
        }
        let Some(text) = choice.of(object)? else { return Ok(()) };
        if list.len() + text.len() > most {
            return Err(format!("the list of {api_version} {kind} has more than {most} bytes"));
        }
        if !is_first {
            list.push(b',');
        }
        is_first = false;
        list.extend_from_slice(text.as_bytes());
        Ok(())
    };
    let mut added = Ok(());
    let may_ask = all(&mut |object| {
        added = add(object);
        if added.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if !may_ask {
        return Err(format!("the policy may not ask for {api_version} {kind}"));
    }
    added?;
    list.extend_from_slice(b"]}");
    Ok(list)
}

/// Which objects are listed, and what of them.
struct Choice {
    labels: LabelSelector,
    fields: FieldSelector,
    mask: Option<Mask>,
}

impl Choice {
    fn new(wanted: &Wanted<'_>) -> Result<Self, String> {
        Ok(Self {
            labels: LabelSelector::parse(wanted.labels).map_err(|error| error.to_string())?,
            fields: FieldSelector::parse(wanted.fields).map_err(|error| error.to_string())?,
            mask: wanted.masks.filter(|masks| !masks.is_empty()).map(Mask::new),
        })
    }

    /// What is listed of an object; nothing where it is not meant.
    fn of<'a>(&self, object: &'a str) -> Result<Option<Cow<'a, str>>, String> {
        if self.labels.is_everything() && self.fields.is_everything() && self.mask.is_none() {
            return Ok(Some(object.into()));
        }
        let mut object: Value = serde_json::from_str(object).map_err(|error| error.to_string())?;
        if !(self.labels.matches_value(object.pointer("/metadata/labels")) && self.fields.matches(|path| field(&object, path))) {
            return Ok(None);
        }
        if let Some(mask) = &self.mask {
            mask.prune(&mut object);
        }
        Ok(Some(object.to_string().into()))
    }
}

/// One object, cut down.
///
/// # Errors
/// When it is not JSON.
pub(super) fn masked(object: String, masks: Option<&[String]>) -> Result<Vec<u8>, String> {
    let Some(masks) = masks.filter(|masks| !masks.is_empty()) else { return Ok(object.into_bytes()) };
    let mut object: Value = serde_json::from_str(&object).map_err(|error| error.to_string())?;
    Mask::new(masks).prune(&mut object);
    Ok(object.to_string().into_bytes())
}

fn field(object: &Value, path: &str) -> Option<String> {
    let found = path.split('.').try_fold(object, |value, name| value.get(name))?;
    Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
}

/// The fields that are kept, by paths such as `spec.containers.image`, which go through lists.
#[derive(Default)]
struct Mask {
    below: BTreeMap<String, Mask>,
    /// A path ends here: everything below is kept, though longer paths name some of it.
    is_end: bool,
}

impl Mask {
    fn new(paths: &[String]) -> Self {
        let mut mask = Self::default();
        for path in paths {
            path.split('.').fold(&mut mask, |mask, name| mask.below.entry(name.to_owned()).or_default()).is_end = true;
        }
        mask
    }

    fn prune(&self, value: &mut Value) {
        if self.is_end {
            return;
        }
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                let mask = self.below.get(name);
                mask.inspect(|mask| mask.prune(value)).is_some()
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| self.prune(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn listed(labels: &str, fields: &str, masks: &[&str], most: usize) -> Result<Value, String> {
        let pod = |name: &str, tier: &str| json!({"metadata": {"name": name, "labels": {"tier": tier}}, "spec": {"containers": [{"image": name, "tty": true}]}});
        let objects = [pod("a", "web"), pod("b", "db")].map(|pod| pod.to_string());
        let masks: Vec<String> = masks.iter().map(|mask| (*mask).to_owned()).collect();
        let list = list(&Wanted { labels, fields, masks: Some(&masks), most, ..pods() }, |take| {
            let _ = objects.iter().try_for_each(|object| take(object));
            true
        })?;
        Ok(serde_json::from_slice(&list).unwrap())
    }

    fn pods() -> Wanted<'static> {
        let until = Instant::now() + Duration::from_secs(3600);
        Wanted { api_version: "v1", kind: "Pod", labels: "", fields: "", masks: None, most: 1000, until }
    }

    fn names(list: &Value) -> Vec<&str> {
        list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
    }

    #[test]
    fn a_list_is_kubernetes_own_and_selected() {
        let all = listed("", "", &[], 1000).unwrap();
        assert_eq!((&all["apiVersion"], &all["kind"], names(&all)), (&json!("v1"), &json!("PodList"), vec!["a", "b"]));
        assert_eq!(names(&listed("tier=db", "", &[], 1000).unwrap()), ["b"]);
        assert_eq!(names(&listed("tier!=db", "metadata.name=a", &[], 1000).unwrap()), ["a"]);
        assert_eq!(names(&listed("", "metadata.name!=a,metadata.name!=b", &[], 1000).unwrap()), [""; 0]);
        assert!(listed("tier in", "", &[], 1000).is_err());
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_and_never_cut() {
        assert!(listed("", "", &[], 150).unwrap_err().contains("more than 150 bytes"));
    }

    #[test]
    fn a_list_that_fails_is_not_gone_through_to_its_end() {
        let handed = |wanted: &Wanted<'_>| {
            let mut handed = 0;
            let list = list(wanted, |take| {
                let all = std::iter::repeat_n(r#"{"kind":"Pod"}"#, 1000);
                let _ = all.inspect(|_| handed += 1).try_for_each(take);
                true
            });
            (handed, list.unwrap_err())
        };
        let (seen, why) = handed(&Wanted { most: 150, ..pods() });
        assert!(seen < 10 && why.contains("more than 150 bytes"), "{seen} {why}");
        let (seen, why) = handed(&Wanted { until: Instant::now(), most: usize::MAX, ..pods() });
        assert!(seen < 1000 && why.contains("took too long"), "{seen} {why}");
        assert!(list(&pods(), |_| false).unwrap_err().contains("may not ask for v1 Pod"));
    }

    #[test]
    fn masks_go_through_lists_and_keep_what_is_below() {
        let masked = listed("", "", &["metadata.name", "spec.containers.image"], 1000).unwrap();
        assert_eq!(masked["items"][0], json!({"metadata": {"name": "a"}, "spec": {"containers": [{"image": "a"}]}}));
        let whole = super::masked(r#"{"a":{"b":1},"c":2}"#.to_owned(), Some(&["a".to_owned()])).unwrap();
        assert_eq!(whole, br#"{"a":{"b":1}}"#);
        // What is named whole is kept whole, in whatever order.
        for masks in [["a", "a.b"], ["a.b", "a"]] {
            let masks = masks.map(str::to_owned);
            assert_eq!(super::masked(r#"{"a":{"b":1,"c":2}}"#.to_owned(), Some(&masks)).unwrap(), br#"{"a":{"b":1,"c":2}}"#);
        }
    }
}
