//! Fields that are owned in another version of the kind than the one that is written: what a write changes is compared in
//! each version that somebody owns fields in.

use serde_json::Value;

use super::Context;
use super::compare::{Comparison, compare};
use super::entries::{self, Entry};
use super::extract::BadItem;
use super::node::Node;
use super::ownership;

/// How documents of a kind look in its other versions.
pub trait Versions: Send + Sync {
    /// The name of the schema of `group/version`; `None` when the kind has no such version any more.
    fn schema(&self, api_version: &str) -> Option<&str>;

    /// A document in another version, if it was made already. It has no managed fields.
    fn converted(&self, document: &Value, api_version: &str) -> Option<&Value>;
}

/// A document is needed in another version, which [`Versions`] does not have. Once it has, the write is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a document is needed in {api_version}")]
pub struct NeedsConversion {
    pub document: Value,
    pub api_version: String,
}

/// Why two documents are not compared.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Bad(#[from] BadItem),
    #[error("{0}")]
    Needs(#[from] NeedsConversion),
}

/// What a write changes, in the eyes of each owner.
pub(super) struct Changes<'a> {
    pub(super) own: Comparison<'a>,
    /// `None` for versions that the kind has no more.
    others: Vec<(String, Option<Comparison<'static>>)>,
}

impl<'a> Changes<'a> {
    /// Compares two documents of the context's version, and in the versions of all `owners`.
    pub(super) fn new(ctx: &Context<'a>, owners: &[Entry<'_>], old: Option<&'a Value>, new: &'a Value) -> Result<Self, Failure> {
        let reset = ownership::reset_fields(ctx);
        let own = compare(ctx.set, Node::root(ctx.set, ctx.schema), old, Some(new))?.without(&reset);
        let mut others: Vec<(String, Option<Comparison<'static>>)> = Vec::new();
        for Entry { api_version, .. } in owners {
            if is_own(ctx, api_version) || others.iter().any(|(known, _)| *known == **api_version) {
                continue;
            }
            let change = match root_of(ctx, api_version) {
                None => None,
                Some(root) => {
                    let old = old.map(|old| in_version(ctx, old, api_version)).transpose()?;
                    let new = in_version(ctx, new, api_version)?;
                    Some(compare(ctx.set, root, old.as_ref(), Some(&new))?.without(&reset).into_owned())
                }
            };
            others.push((api_version.clone().into_owned(), change));
        }
        Ok(Self { own, others })
    }

    /// What changes for an owner; `None` when its version is gone.
    pub(super) fn of(&self, owner: &Entry<'_>) -> Option<&Comparison<'a>> {
        match self.others.iter().find(|(version, _)| *version == *owner.api_version) {
            Some((_, change)) => change.as_ref(),
            None => Some(&self.own),
        }
    }
}

/// Whether fields of a version are those of the written document: of kinds that convert nothing, all are.
pub(super) fn is_own(ctx: &Context<'_>, api_version: &str) -> bool {
    ctx.versions.is_none() || api_version == ctx.api_version
}

/// The schema of a version; `None` when the kind has no such version any more.
pub(super) fn root_of<'a>(ctx: &Context<'a>, api_version: &str) -> Option<Node<'a>> {
    if is_own(ctx, api_version) {
        return Some(Node::root(ctx.set, ctx.schema));
    }
    Some(Node::root(ctx.set, ctx.versions?.schema(api_version)?))
}

/// The same document in a version that there is, without its managed fields.
pub(super) fn in_version(ctx: &Context<'_>, document: &Value, api_version: &str) -> Result<Value, NeedsConversion> {
    let bare = entries::without(document);
    if bare["apiVersion"] == api_version {
        return Ok(bare);
    }
    let known = ctx.versions.and_then(|versions| versions.converted(&bare, api_version)).cloned();
    known.ok_or_else(|| NeedsConversion { document: bare, api_version: api_version.to_owned() })
}
