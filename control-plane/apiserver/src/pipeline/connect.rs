//! Streams to pods, services and nodes: admission looks at their options, and nothing is stored.

use std::sync::Arc;

use mizzen_api::{GroupVersionResource, Status};
use serde_json::Value;

use super::Pipeline;
use super::target::Target;
use crate::admission::{Operation, Warnings};
use crate::auth::Identity;

impl Pipeline {
    /// The options of a stream as policies and webhooks left them, and their warnings. The request is authorized.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn admit_connect(
        &self,
        user: &Arc<Identity>,
        resource: &GroupVersionResource,
        (namespace, name, subresource): (&str, &str, &str),
        mut options: Value,
    ) -> Result<(Value, Vec<String>), Status> {
        let target = Target::resolve(&self.registry, resource, namespace, name, subresource)?;
        let warnings = Warnings::default();
        let attributes = self.attributes(user, Operation::Connect, &target, &warnings);
        match self.admission.connect(&attributes, &mut options).await {
            Ok(()) => Ok((options, warnings.take())),
            Err(status) => Err(status.warned(warnings.take())),
        }
    }
}
