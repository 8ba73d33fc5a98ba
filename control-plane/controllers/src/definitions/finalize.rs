//! The end of a definition: its objects are deleted, then it is let go.

use std::time::Duration;

use mizzen_api::{GroupVersionResource, Object, Reason, Status, Verb};
use mizzen_client::{ApiRequest, ListOptions, PatchKind};
use mizzen_reconcile::{Action, Error};
use serde_json::{Value, json};

use super::status::{self, Condition};
use super::{Definitions, FINALIZER, is_passed, resource};

/// How soon to look again for objects that take their time.
const AGAIN: Duration = Duration::from_millis(500);

impl Definitions {
    pub(super) async fn finalize(&self, object: &Object, mut definition: Value) -> Result<Action, Error> {
        let name = object.head().name.clone();
        let left = match status::is_true(&definition, "Established") {
            true => self.delete_objects(&definition).await,
            false => Ok(Vec::new()),
        };
        let condition = match &left {
            Err(error) => {
                let why = format!("could not issue all deletes: {error}");
                Condition::new("Terminating", true, "InstanceDeletionFailed", why)
            }
            Ok(left) if !left.is_empty() => {
                let why = "CustomResource deletion is in progress";
                Condition::new("Terminating", true, "InstanceDeletionInProgress", why)
            }
            Ok(_) if !status::is_true(&definition, "Established") => {
                Condition::new("Terminating", false, "NeverEstablished", "resource was never established")
            }
            Ok(_) => Condition::new("Terminating", false, "InstanceDeletionCompleted", "removed all instances"),
        };
        let before = definition.clone();
        status::set(&mut definition, self.clock.now(), &condition);
        if definition != before {
            match self.update_status(&name, definition).await {
                Ok(_) => {}
                Err(error) if is_passed(&error) => return Ok(Action::Done),
                Err(error) => return Err(error),
            }
        }
        if !left?.is_empty() {
            return Ok(Action::RequeueAfter(AGAIN));
        }
        self.let_go(&name).await?;
        Ok(Action::Done)
    }

    /// Asks for the deletion of all objects. Answers those that are left.
    async fn delete_objects(&self, definition: &Value) -> Result<Vec<String>, Error> {
        let Some(objects) = objects_of(definition) else { return Ok(Vec::new()) };
        let failed = |verb: &str, status: Status| Error::api(format!("{verb} {}", objects.resource), status);
        let list = || async {
            match self.client.list(&objects, "", &ListOptions::default()).await {
                Ok(list) => Ok(list.items.iter().map(|object| object.head().object_ref().to_string()).collect::<Vec<_>>()),
                // Not served any more: there is nothing that could be reached.
                Err(status) if status.is(Reason::NotFound) => Ok(Vec::new()),
                Err(status) => Err(failed("list", status)),
            }
        };
        if list().await?.is_empty() {
            return Ok(Vec::new());
        }
        let request = ApiRequest::new(Verb::DeleteCollection, &objects, "", "");
        self.client.write(request).await.map_err(|status| failed("delete", status))?;
        list().await
    }

    async fn let_go(&self, name: &str) -> Result<(), Error> {
        let operation = || format!("remove the finalizer of customresourcedefinition {name}");
        let live = match self.client.get(&resource(), "", name).await {
            Ok(live) => live,
            Err(status) if status.is(Reason::NotFound) => return Ok(()),
            Err(status) => return Err(Error::api(operation(), status)),
        };
        let left: Vec<&String> = live.head().finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"resourceVersion": live.head().resource_version, "finalizers": left}});
        match self.client.write(ApiRequest::patch(&resource(), "", name, PatchKind::Merge, patch)).await {
            Err(status) if !status.is(Reason::NotFound) => Err(Error::api(operation(), status)),
            _ => Ok(()),
        }
    }
}

/// The resource as the API serves it: in a served version, or, when none is, in the stored one.
fn objects_of(definition: &Value) -> Option<GroupVersionResource> {
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions
        .iter()
        .find(|version| version["served"] == true)
        .or_else(|| versions.iter().find(|version| version["storage"] == true))?;
    let plural = definition.pointer("/status/acceptedNames/plural").and_then(Value::as_str)?;
    Some(GroupVersionResource::new(definition["spec"]["group"].as_str()?, version["name"].as_str()?, plural))
}
