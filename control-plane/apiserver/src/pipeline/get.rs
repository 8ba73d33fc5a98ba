//! `get`.

use std::sync::Arc;

use mizzen_api::{GroupVersionResource, Object, Status, Verb};

use super::Pipeline;
use crate::auth::Identity;
use crate::errors;

impl Pipeline {
    /// `revision` as in the `resourceVersion` parameter: empty for the newest, else at least that one.
    pub(crate) async fn get(
        &self,
        user: &Identity,
        resource: &GroupVersionResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        revision: &str,
    ) -> Result<Arc<Object>, Status> {
        let target = self.resolve(user, "get", resource, (namespace, name, subresource))?;
        self.authorize_target(user, "get", &target)?;
        target.require(Verb::Get)?;
        if super::components::is_about(&target) {
            return super::components::named(&target);
        }
        self.reach(revision).await?;
        let object = self.custom.shown_one(&target.descriptor, self.current(&target)?).await?;
        match subresource {
            "scale" => super::scale::of(&target, &object),
            _ => target.shown(object),
        }
    }

    /// Waits until reads here are as new as the client asks.
    pub(super) async fn reach(&self, revision: &str) -> Result<(), Status> {
        match revision {
            "" => self.store.barrier().await.map_err(errors::store),
            text => {
                let asked = super::list::parse_revision(text)?;
                let newest = self.store.revision();
                if asked > newest { Err(errors::too_large_revision(asked, newest)) } else { Ok(()) }
            }
        }
    }
}
