//! DefaultIngressClass: an ingress that names no class gets the default one.

use async_trait::async_trait;
use mizzen_api::{Status, ingress};
use serde_json::Value;

use super::{Attributes, Operation, Plugin};

pub(super) struct DefaultIngressClass;

const GROUP: &str = "networking.k8s.io";

#[async_trait]
impl Plugin for DefaultIngressClass {
    async fn mutate(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
        let creates = attributes.operation == Operation::Create && attributes.subresource().is_empty();
        if !creates || (attributes.group(), attributes.resource()) != (GROUP, "ingresses") {
            return Ok(());
        }
        let name = ingress::class_to_give(object, attributes.list(GROUP, "ingressclasses", "")?);
        if let (Some(name), Some(spec)) = (name, object.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.insert("ingressClassName".to_owned(), name.into());
        }
        Ok(())
    }
}
