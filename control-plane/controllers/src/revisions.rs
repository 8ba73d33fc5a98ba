//! ControllerRevisions: each template that a DaemonSet or StatefulSet had, to tell its pods apart by and to return to.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use mizzen_api::{Object, ObjectRef, Reason};
use mizzen_client::{ApiRequest, Client, DeleteOptions, PatchKind};
use mizzen_reconcile::{Error, Queue, WatchCache, typed};
use serde_json::{Value, json};

use crate::caches::BY_OWNER;
use crate::hash::template_hash;
use crate::namespaces::is_terminating_error;
use crate::pod_owner::OwnsPods;
use crate::template::normalized;

/// The label of a DaemonSet's revisions, and of the pods of both kinds.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";
/// The label of a StatefulSet's revisions.
pub(crate) const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// Whose revisions are meant.
pub(crate) struct Owner<'a> {
    pub(crate) key: &'a ObjectRef,
    pub(crate) uid: &'a str,
    /// The reference by which it controls them.
    pub(crate) reference: Value,
    /// The present template, as stored.
    pub(crate) template: &'a Value,
    /// How often a revision's name was taken by another template.
    pub(crate) collisions: i32,
    /// The label of its revisions that holds the hash.
    pub(crate) hash_label: &'static str,
}

pub(crate) struct Revision {
    pub(crate) key: ObjectRef,
    pub(crate) owner: Option<String>,
    pub(crate) number: i64,
    pub(crate) hash: String,
    /// In the form in which templates are compared.
    template: Value,
    object: Option<Arc<Object>>,
}

impl Revision {
    pub(crate) fn of(object: &Arc<Object>) -> Option<Self> {
        let head = object.head();
        let hash = head.labels.get(REVISION_LABEL).or_else(|| head.labels.get(HASH_LABEL));
        Some(Self {
            key: head.object_ref(),
            owner: head.controller().map(|owner| owner.uid.clone()),
            number: object.value().ok()?.get("revision").and_then(Value::as_i64).unwrap_or(0),
            hash: hash.cloned().unwrap_or_default(),
            template: normalized(&template_of(object)?),
            object: Some(object.clone()),
        })
    }

    /// The template as it was, with nothing left out.
    pub(crate) fn template(&self) -> Option<Value> {
        template_of(self.object.as_ref()?)
    }
}

fn template_of(object: &Arc<Object>) -> Option<Value> {
    let mut document = object.value().ok()?;
    let mut template = document.pointer_mut("/data/spec/template").map(Value::take).unwrap_or_default();
    template.as_object_mut().and_then(|template| template.remove("$patch"));
    Some(template)
}

/// How the present template's revision stands.
pub(crate) enum Present {
    /// It exists and is the newest.
    Known(Arc<Revision>),
    /// It is being written and not yet seen.
    Written,
    /// Its name is another template's: the owner's collision count has to be raised first.
    Taken,
}

/// What is to be done so that the newest revision is the present template's.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is; the name of it.
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
        Some(found) if found.number == newest && !found.hash.is_empty() => Step::Done(found.key.name.clone()),
        Some(found) if found.number == newest => Step::Renew { name: found.key.name.clone(), number: newest },
        Some(found) => Step::Renew { name: found.key.name.clone(), number: newest + 1 },
        None => Step::Create { number: newest + 1 },
    }
}

/// The names of former revisions beyond `keep`, the oldest first, without those in use.
fn superfluous(revisions: &[Arc<Revision>], in_use: impl Fn(&Revision) -> InUse, keep: usize) -> Vec<String> {
    let mut former: Vec<_> = revisions.iter().filter(|revision| in_use(revision) != InUse::Present).collect();
    former.sort_by_key(|revision| revision.number);
    let many = former.len().saturating_sub(keep);
    former.into_iter().take(many).filter(|old| in_use(old) == InUse::No).map(|old| old.key.name.clone()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InUse {
    Present,
    ByPods,
    No,
}

pub(crate) struct Revisions {
    client: Arc<dyn Client>,
    cache: Arc<WatchCache<Revision>>,
}

impl Revisions {
    /// `cache` has those of all owners; a change wakes the set in `queue` that it belongs to.
    pub(crate) fn new<S: OwnsPods>(
        client: Arc<dyn Client>,
        cache: &Arc<WatchCache<Revision>>,
        sets: &Arc<WatchCache<S>>,
        queue: &Queue,
    ) -> Self {
        let (sets, queue) = (sets.clone(), queue.clone());
        cache.on_change(move |change| {
            let owners: Vec<_> =
                change.old.into_iter().chain(change.new).filter_map(|revision| revision.owner.as_deref()).collect();
            let concerned = sets.in_namespace(&change.key.namespace);
            concerned
                .iter()
                .filter(|set| owners.contains(&set.owner().uid.as_str()))
                .for_each(|set| queue.add(set.owner().key.clone()));
        });
        Self { client, cache: cache.clone() }
    }

    pub(crate) fn of(&self, uid: &str) -> Vec<Arc<Revision>> {
        self.cache.by(BY_OWNER, uid)
    }

    /// Sees to it that the present template's revision exists and is the newest.
    pub(crate) async fn present(&self, owner: &Owner<'_>) -> Result<Present, Error> {
        let template = normalized(owner.template);
        let hash = template_hash(&template, owner.collisions);
        let namespace = &owner.key.namespace;
        let known = self.of(owner.uid);
        match step(&template, &known) {
            Step::Done(name) => {
                let found = known.into_iter().find(|revision| revision.key.name == name);
                return Ok(found.map_or(Present::Written, Present::Known));
            }
            Step::Renew { name, number } => {
                let patch = json!({"revision": number, "metadata": {"labels": {owner.hash_label: hash}}});
                let client = self.client.as_ref();
                match typed::patch::<ControllerRevision>(client, namespace, &name, "", PatchKind::Merge, patch).await {
                    Ok(_) => {}
                    Err(error) if error.is(Reason::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
            Step::Create { number } => {
                let name = format!("{}-{hash}", owner.key.name);
                let request =
                    ApiRequest::create(&self.cache.resource().clone(), namespace, document(owner, &name, &hash, number));
                match self.client.write(request).await {
                    Ok(_) => {}
                    Err(status) if status.is(Reason::AlreadyExists) => return self.collided(owner, &name, &template).await,
                    // Of a namespace on its way out nobody need hear.
                    Err(status) if is_terminating_error(&status) => {}
                    Err(status) => return Err(Error::api(format!("create controllerrevisions {namespace}/{name}"), status)),
                }
            }
        }
        Ok(Present::Written)
    }

    /// The revision's name is taken. Where that is another template's, the hash must become another one.
    async fn collided(&self, owner: &Owner<'_>, name: &str, template: &Value) -> Result<Present, Error> {
        let found = typed::get_object::<ControllerRevision>(self.client.as_ref(), &owner.key.namespace, name).await?;
        let same = found.as_ref().and_then(Revision::of).is_some_and(|revision| revision.template == *template);
        Ok(if same { Present::Written } else { Present::Taken })
    }

    /// Removes former revisions beyond `keep`; `used` says how pods name theirs.
    pub(crate) async fn forget_old(
        &self,
        owner: &Owner<'_>,
        present: &[&str],
        used: &BTreeSet<&str>,
        keep: usize,
    ) -> Result<(), Error> {
        let in_use = |revision: &Revision| match () {
            () if present.contains(&revision.key.name.as_str()) => InUse::Present,
            () if used.contains(revision.hash.as_str()) || used.contains(revision.key.name.as_str()) => InUse::ByPods,
            () => InUse::No,
        };
        for name in superfluous(&self.of(owner.uid), in_use, keep) {
            let options = DeleteOptions::default();
            typed::delete::<ControllerRevision>(self.client.as_ref(), &owner.key.namespace, &name, options).await?;
        }
        Ok(())
    }
}

/// A revision as `kubectl rollout undo` applies it: a patch that replaces the template.
fn document(owner: &Owner<'_>, name: &str, hash: &str, number: i64) -> Value {
    let mut template = owner.template.clone();
    template["$patch"] = json!("replace");
    let mut labels = owner.template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
    labels[owner.hash_label] = json!(hash);
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner.reference]},
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: i64, hash: &str, template: &Value) -> Arc<Revision> {
        let (key, hash, template) = (ObjectRef::new("default", format!("d-{number}")), hash.to_owned(), template.clone());
        Arc::new(Revision { key, owner: None, number, hash, template, object: None })
    }

    #[test]
    fn the_newest_revision_is_the_present_template() {
        let (a, b) = (json!({"spec": "a"}), json!({"spec": "b"}));
        assert_eq!(step(&a, &[]), Step::Create { number: 1 });
        let both = [revision(1, "x", &a), revision(2, "y", &b)];
        assert_eq!(step(&b, &both), Step::Done("d-2".to_owned()));
        assert_eq!(step(&a, &both), Step::Renew { name: "d-1".to_owned(), number: 3 });
        assert_eq!(step(&json!({"spec": "c"}), &both), Step::Create { number: 3 });
        assert_eq!(step(&a, &[revision(1, "", &a)]), Step::Renew { name: "d-1".to_owned(), number: 1 });
    }

    #[test]
    fn the_oldest_revisions_without_pods_are_forgotten() {
        let all: Vec<_> = (1..=4).map(|number| revision(number, &format!("h{number}"), &json!(number))).collect();
        let in_use = |by_pods: &'static str| {
            move |revision: &Revision| match revision.hash.as_str() {
                "h4" => InUse::Present,
                hash if hash == by_pods => InUse::ByPods,
                _ => InUse::No,
            }
        };
        assert_eq!(superfluous(&all, in_use("h2"), 1), ["d-1"]);
        assert_eq!(superfluous(&all, in_use(""), 0), ["d-1", "d-2", "d-3"]);
        assert!(superfluous(&all, in_use(""), 10).is_empty());
    }
}
