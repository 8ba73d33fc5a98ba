//! Who asks for a certificate is for the server to say, not for the request.

use async_trait::async_trait;
use mizzen_api::Status;
use serde_json::{Value, json};

use super::super::{Attributes, Plugin};

pub(in crate::admission) struct CertificateRequestor;

#[async_trait]
impl Plugin for CertificateRequestor {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        if !super::is_created(attributes) {
            return Ok(());
        }
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        let who = attributes.identity;
        spec.insert("username".to_owned(), json!(who.username));
        if !who.uid.is_empty() {
            spec.insert("uid".to_owned(), json!(who.uid));
        }
        if !who.groups.is_empty() {
            spec.insert("groups".to_owned(), json!(who.groups));
        }
        if !who.extra.is_empty() {
            spec.insert("extra".to_owned(), json!(who.extra));
        }
        Ok(())
    }
}
