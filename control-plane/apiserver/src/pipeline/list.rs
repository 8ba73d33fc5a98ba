//! `list`: pages at one revision, narrowed by selectors.

use std::sync::Arc;

use mizzen_api::validate;
use mizzen_api::{GroupVersionResource, Object, Scope, Status, Verb};
use mizzen_client::ListOptions;
use mizzen_store::{RangeOptions, StoreError};

use super::Pipeline;
use super::continue_token::ContinueToken;
use super::select::Selection;
use super::target::Target;
use crate::auth::Identity;
use crate::errors;
use crate::number;

/// A list as it is answered.
pub(crate) struct Listed {
    pub(crate) target: Target,
    pub(crate) items: Vec<Arc<Object>>,
    pub(crate) revision: u64,
    pub(crate) continue_token: Option<String>,
    /// Unknown when selectors are given.
    pub(crate) remaining: Option<u64>,
}

/// A key of the store and what is there.
type Found = (Arc<str>, Arc<Object>);

/// At least so many keys are read at a time when a selector leaves items out.
const SCAN: usize = 500;

impl Pipeline {
    pub(crate) async fn list(
        &self,
        user: &Identity,
        resource: &GroupVersionResource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Listed, Status> {
        let target = self.resolve(user, "list", resource, (namespace, "", ""))?;
        let selection = Selection::parse(&target.descriptor, &options.label_selector, &options.field_selector)?;
        self.authorize_selected(user, "list", &target, &selection)?;
        target.require(Verb::List)?;
        let mut listed = self.select(target, &selection, options).await?;
        if listed.target.form().is_some() {
            listed.items = listed.items.into_iter().map(|object| listed.target.shown(object)).collect::<Result<_, _>>()?;
        }
        Ok(listed)
    }

    /// The objects of a collection, without asking whether the user may list them.
    pub(super) async fn collect(&self, target: &Target, options: &ListOptions) -> Result<Listed, Status> {
        let selection = Selection::parse(&target.descriptor, &options.label_selector, &options.field_selector)?;
        self.select(target.clone(), &selection, options).await
    }

    async fn select(&self, target: Target, selection: &Selection, options: &ListOptions) -> Result<Listed, Status> {
        if super::components::is_about(&target) {
            let mut items = super::components::all()?;
            items.retain(|component| selection.matches(&target.descriptor, component));
            return Ok(Listed { target, items, revision: self.store.revision(), continue_token: None, remaining: None });
        }
        let prefix = target.prefix();
        let start = self.start(&prefix, options).await?;
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let mut range = RangeOptions { start_after: start.after, limit, revision: start.revision };
        let mut items = Vec::new();
        if selection.is_everything() {
            let found = self.store.range(&prefix, &range).map_err(|error| start_error(error, options))?;
            let last = found.items.last().map(|(key, _)| key.clone());
            items.extend(found.items.into_iter().map(|(_, object)| object));
            let items = self.custom.shown(&target.descriptor, items).await?;
            let more = found.remaining > 0;
            let continue_token = last.filter(|_| more).map(|key| token(found.revision, &prefix, &key));
            let remaining = more.then_some(found.remaining as u64);
            return Ok(Listed { target, items, revision: found.revision, continue_token, remaining });
        }
        if limit > 0 {
            range.limit = limit.max(SCAN);
        }
        // Only the one name's place is read, where a single namespace or none is in question.
        let in_one_place = target.descriptor.scope == Scope::Cluster || !target.namespace.is_empty();
        let scanned = match selection.name().filter(|_| in_one_place) {
            Some(name) => format!("{prefix}{name}"),
            None => prefix.clone(),
        };
        loop {
            let found = self.store.range(&scanned, &range).map_err(|error| start_error(error, options))?;
            range.revision = Some(found.revision);
            let last = found.items.last().map(|(key, _)| key.clone());
            let mut rest = self.shown_pairs(&target, found.items).await?.into_iter();
            for (key, object) in rest.by_ref() {
                if !selection.matches(&target.descriptor, &object) {
                    continue;
                }
                items.push(object);
                if limit > 0 && items.len() == limit {
                    let more = rest.len() > 0 || found.remaining > 0;
                    let continue_token = more.then(|| token(found.revision, &prefix, &key));
                    return Ok(Listed { target, items, revision: found.revision, continue_token, remaining: None });
                }
            }
            match last {
                Some(last) if found.remaining > 0 => range.start_after = Some(last.to_string()),
                _ => return Ok(Listed { target, items, revision: found.revision, continue_token: None, remaining: None }),
            }
        }
    }

    async fn shown_pairs(&self, target: &Target, items: Vec<Found>) -> Result<Vec<Found>, Status> {
        if target.descriptor.custom.is_none() {
            return Ok(items);
        }
        let (keys, objects): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        Ok(keys.into_iter().zip(self.custom.shown(&target.descriptor, objects).await?).collect())
    }

    /// Where a list begins, and at which revision (API concepts, "Semantics for get and list").
    async fn start(&self, prefix: &str, options: &ListOptions) -> Result<Start, Status> {
        check(options)?;
        if !options.continue_token.is_empty() {
            let token = ContinueToken::decode(&options.continue_token)?;
            if !matches!(options.resource_version.as_str(), "" | "0") {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            if token.revision().is_none() {
                self.store.barrier().await.map_err(errors::store)?;
            }
            return Ok(Start { after: Some(format!("{prefix}{}", token.after)), revision: token.revision() });
        }
        let asked = parse_revision(&options.resource_version)?;
        if options.resource_version_match == "Exact" {
            return Ok(Start { after: None, revision: Some(asked) });
        }
        self.reach(&options.resource_version).await?;
        // The older way to ask for one revision: a page of it.
        let exact = asked > 0 && options.limit > 0 && options.resource_version_match.is_empty();
        Ok(Start { after: None, revision: exact.then_some(asked) })
    }
}

/// Which parameters go together.
fn check(options: &ListOptions) -> Result<(), Status> {
    const FIELD: &str = "resourceVersionMatch";
    let matching = options.resource_version_match.as_str();
    if matching.is_empty() {
        return Ok(());
    }
    let mut causes = Vec::new();
    if options.resource_version.is_empty() {
        causes.push(validate::forbidden(FIELD, "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    }
    if !options.continue_token.is_empty() {
        causes.push(validate::forbidden(FIELD, "resourceVersionMatch is forbidden when continue is provided"));
    }
    if !matches!(matching, "Exact" | "NotOlderThan") {
        causes.push(validate::not_supported(FIELD, matching, &["", "Exact", "NotOlderThan"]));
    }
    if matching == "Exact" && options.resource_version == "0" {
        causes.push(validate::forbidden(FIELD, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
    }
    errors::options("ListOptions", causes)
}

struct Start {
    after: Option<String>,
    revision: Option<u64>,
}

fn token(revision: u64, prefix: &str, key: &str) -> String {
    ContinueToken::new(revision, key.strip_prefix(prefix).unwrap_or(key)).encode()
}

fn start_error(error: StoreError, options: &ListOptions) -> Status {
    match error {
        StoreError::Compacted { .. } if !options.continue_token.is_empty() => {
            let mut status = errors::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                 without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
                 results. Continuing with the provided token results in an inconsistent list - objects that were created, \
                 modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            );
            let token = ContinueToken::decode(&options.continue_token).ok();
            status.continue_token = token.map(|token| ContinueToken::inconsistent(&token.after).encode());
            status
        }
        error => errors::store(error),
    }
}

/// # Errors
/// `BadRequest` when `text` is no revision.
pub(super) fn parse_revision(text: &str) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    number::unsigned(text)
        .map_err(|why| Status::bad_request(format!("invalid resource version: resourceVersion: Invalid value: {text:?}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_revision_is_refused() {
        assert_eq!((parse_revision(""), parse_revision("0"), parse_revision("12")), (Ok(0), Ok(0), Ok(12)));
        let refused = parse_revision("xx").map_err(|status| (status.code, status.message));
        let why = "invalid resource version: resourceVersion: Invalid value: \"xx\": \
                   strconv.ParseUint: parsing \"xx\": invalid syntax";
        assert_eq!(refused, Err((400, why.to_owned())));
    }
}
