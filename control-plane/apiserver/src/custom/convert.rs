//! Documents of one version as documents of another.

use mizzen_api::descriptor::{Conversion, Custom};
use mizzen_api::{ResourceDescriptor, Status};
use serde_json::Value;

use super::{CustomKinds, webhook};

impl CustomKinds {
    /// Makes every document one of `version`.
    ///
    /// # Errors
    /// `InternalError` when a webhook does not convert as it should.
    pub(crate) async fn convert(
        &self,
        descriptor: &ResourceDescriptor,
        custom: &Custom,
        version: &str,
        documents: Vec<Value>,
    ) -> Result<Vec<Value>, Status> {
        let wanted = format!("{}/{version}", descriptor.group);
        let differs = |document: &Value| document["apiVersion"] != wanted.as_str();
        if !documents.iter().any(differs) {
            return Ok(documents);
        }
        match &custom.conversion {
            Conversion::None => Ok(documents
                .into_iter()
                .map(|mut document| {
                    document["apiVersion"] = Value::String(wanted.clone());
                    document
                })
                .collect()),
            Conversion::Webhook(config) => {
                // Only what is of another version is sent, and put back where it was.
                let places: Vec<usize> = (0..documents.len()).filter(|place| differs(&documents[*place])).collect();
                let mut documents = documents;
                let sent: Vec<Value> = places.iter().map(|place| documents[*place].clone()).collect();
                let converted = webhook::convert(self.store.as_ref(), config, &wanted, &sent).await?;
                for (place, document) in places.into_iter().zip(converted) {
                    documents[place] = document;
                }
                Ok(documents)
            }
        }
    }
}
