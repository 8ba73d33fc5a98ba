//! The ControllerRevisions of a DaemonSet: each template it had, to tell its pods apart by and to return to.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::{ApiRequest, DeleteOptions, PatchKind};
use mizzen_reconcile::{Error, typed};
use serde_json::{Value, json};

use super::DaemonSets;
use super::decide::HASH_LABEL;
use super::view::DsView;
use crate::hash::template_hash;
use crate::template::normalized;

pub(super) struct Revision {
    pub(super) key: ObjectRef,
    pub(super) owner: Option<String>,
    number: i64,
    hash: String,
    /// In the form in which templates are compared.
    template: Value,
}

impl Revision {
    pub(super) fn of(object: &Arc<Object>) -> Option<Self> {
        let document = object.value().ok()?;
        let head = object.head();
        let mut template = document.pointer("/data/spec/template").cloned().unwrap_or_default();
        template.as_object_mut().and_then(|template| template.remove("$patch"));
        Some(Self {
            key: head.object_ref(),
            owner: head.controller().map(|owner| owner.uid.clone()),
            number: document.get("revision").and_then(Value::as_i64).unwrap_or(0),
            hash: head.labels.get(HASH_LABEL).cloned().unwrap_or_default(),
            template: normalized(&template),
        })
    }
}

/// What is to be done so that the newest revision is the present template's.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is; with its hash.
    Done(String),
    /// There is one, to be numbered anew and labelled.
    Renew {
        name: String,
        number: i64,
    },
    Create {
        number: i64,
    },
}

fn step(template: &Value, revisions: &[Arc<Revision>]) -> Step {
    let newest = revisions.iter().map(|revision| revision.number).max().unwrap_or(0);
    let same = revisions.iter().filter(|revision| revision.template == *template).max_by_key(|revision| revision.number);
    match same {
        Some(found) if found.number == newest && !found.hash.is_empty() => Step::Done(found.hash.clone()),
        Some(found) if found.number == newest => Step::Renew { name: found.key.name.clone(), number: newest },
        Some(found) => Step::Renew { name: found.key.name.clone(), number: newest + 1 },
        None => Step::Create { number: newest + 1 },
    }
}

/// The names of former revisions beyond `keep`, the oldest first, without those that pods are still of.
fn superfluous(revisions: &[Arc<Revision>], present: &str, used: &BTreeSet<&str>, keep: usize) -> Vec<String> {
    let mut former: Vec<_> = revisions.iter().filter(|revision| revision.hash != present).collect();
    former.sort_by_key(|revision| revision.number);
    let many = former.len().saturating_sub(keep);
    former.into_iter().take(many).filter(|old| !used.contains(old.hash.as_str())).map(|old| old.key.name.clone()).collect()
}

impl DaemonSets {
    fn revisions_of(&self, set: &DsView) -> Vec<Arc<Revision>> {
        self.revisions.by(super::BY_OWNER, &set.uid)
    }

    /// The hash of the present template, whose revision exists and is the newest. `None` when the revision is being written
    /// and not yet seen, or when the collision count has to be raised first.
    pub(super) async fn present_revision(&self, set: &DsView) -> Result<Option<String>, Error> {
        let template = normalized(&set.template);
        let hash = template_hash(&template, set.status.collision_count.unwrap_or(0));
        let namespace = &set.key.namespace;
        match step(&template, &self.revisions_of(set)) {
            Step::Done(hash) => return Ok(Some(hash)),
            Step::Renew { name, number } => {
                let patch = json!({"revision": number, "metadata": {"labels": {HASH_LABEL: hash}}});
                let client = self.client.as_ref();
                match typed::patch::<ControllerRevision>(client, namespace, &name, "", PatchKind::Merge, patch).await {
                    Ok(_) => {}
                    Err(error) if error.is(Reason::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            Step::Create { number } => {
                let name = format!("{}-{hash}", set.key.name);
                let request =
                    ApiRequest::create(&self.revisions.resource().clone(), namespace, document(set, &name, &hash, number));
                match self.client.write(request).await {
                    Ok(_) => {}
                    Err(status) if status.is(Reason::AlreadyExists) => return self.collided(set, &name, &template).await,
                    Err(status) => return Err(Error::api(format!("create controllerrevisions {namespace}/{name}"), status)),
                }
            }
        }
        Ok(None)
    }

    /// The revision's name is taken. Where that is another template's, the hash must become another one.
    async fn collided(&self, set: &DsView, name: &str, template: &Value) -> Result<Option<String>, Error> {
        let found = typed::get_object::<ControllerRevision>(self.client.as_ref(), &set.key.namespace, name).await?;
        let same = found.as_ref().and_then(Revision::of).is_some_and(|revision| revision.template == *template);
        if !same {
            let mut status = set.status.clone();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            super::update_status(self.client.as_ref(), set, &status).await?;
        }
        Ok(None)
    }

    /// Removes former revisions beyond those that the set keeps.
    pub(super) async fn forget_old(&self, set: &DsView, present: &str, used: &BTreeSet<&str>) -> Result<(), Error> {
        for name in superfluous(&self.revisions_of(set), present, used, set.history) {
            let options = DeleteOptions::default();
            typed::delete::<ControllerRevision>(self.client.as_ref(), &set.key.namespace, &name, options).await?;
        }
        Ok(())
    }
}

/// A revision as `kubectl rollout undo` applies it: a patch that replaces the template.
fn document(set: &DsView, name: &str, hash: &str, number: i64) -> Value {
    let mut template = set.template.clone();
    template["$patch"] = json!("replace");
    let mut labels = set.template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    labels[HASH_LABEL] = json!(hash);
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [super::effects::owner_of_pods(set)]},
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: i64, hash: &str, template: &Value) -> Arc<Revision> {
        let (hash, template) = (hash.to_owned(), template.clone());
        Arc::new(Revision { key: ObjectRef::new("default", format!("d-{number}")), owner: None, number, hash, template })
    }

    #[test]
    fn the_newest_revision_is_the_present_template() {
        let (a, b) = (json!({"spec": "a"}), json!({"spec": "b"}));
        assert_eq!(step(&a, &[]), Step::Create { number: 1 });
        let both = [revision(1, "x", &a), revision(2, "y", &b)];
        assert_eq!(step(&b, &both), Step::Done("y".to_owned()));
        assert_eq!(step(&a, &both), Step::Renew { name: "d-1".to_owned(), number: 3 });
        assert_eq!(step(&json!({"spec": "c"}), &both), Step::Create { number: 3 });
        assert_eq!(step(&a, &[revision(1, "", &a)]), Step::Renew { name: "d-1".to_owned(), number: 1 });
    }

    #[test]
    fn the_oldest_revisions_without_pods_are_forgotten() {
        let all: Vec<_> = (1..=4).map(|number| revision(number, &format!("h{number}"), &json!(number))).collect();
        assert_eq!(superfluous(&all, "h4", &BTreeSet::from(["h2"]), 1), ["d-1"]);
        assert_eq!(superfluous(&all, "h4", &BTreeSet::new(), 0), ["d-1", "d-2", "d-3"]);
        assert!(superfluous(&all, "h4", &BTreeSet::new(), 10).is_empty());
    }
}
