//! Fields of a custom kind that somebody owns in another version than the one that is written: documents are converted for
//! them as they are needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use mizzen_api::{Registry, Status};
use mizzen_apply::managed::{NeedsConversion, Versions};
use serde_json::Value;

use super::Pipeline;
use super::target::Target;

/// Documents of one write in the versions in which others own fields.
pub(super) struct Conversions {
    /// The name of the schema of each `group/version` that the kind has; of one that is not served it says nothing.
    schemas: BTreeMap<String, Option<Arc<str>>>,
    made: Vec<Made>,
}

struct Made {
    document: Value,
    api_version: String,
    converted: Value,
}

/// Why a write has no outcome.
pub(super) enum Unmade {
    Refused(Status),
    Needs(NeedsConversion),
}

impl Conversions {
    /// `None` for built-in kinds, whose fields are owned in the stored version.
    pub(super) fn of(registry: &Registry, target: &Target) -> Option<Self> {
        let descriptor = &target.descriptor;
        let versions = descriptor.custom.as_ref()?.strategies.keys();
        let schema = |version: &str| {
            let served = registry.by_resource(&descriptor.group, version, &descriptor.resource)?;
            Some(served.schema_of(version).clone())
        };
        let schemas = versions.map(|version| (format!("{}/{version}", descriptor.group), schema(version))).collect();
        Some(Self { schemas, made: Vec::new() })
    }
}

impl Versions for Conversions {
    fn schema(&self, api_version: &str) -> Option<&str> {
        self.schemas.get(api_version).map(|schema| schema.as_deref().unwrap_or_default())
    }

    fn converted(&self, document: &Value, api_version: &str) -> Option<&Value> {
        let is_it = |made: &&Made| made.api_version == api_version && made.document == *document;
        self.made.iter().find(is_it).map(|made| &made.converted)
    }
}

impl Pipeline {
    /// Makes what is needed.
    ///
    /// # Errors
    /// When a conversion webhook fails.
    pub(super) async fn convert_for_owners(
        &self,
        target: &Target,
        conversions: &mut Option<Conversions>,
        NeedsConversion { document, api_version }: NeedsConversion,
    ) -> Result<(), Status> {
        let lost = || Status::internal(format!("a document of {} is not converted to {api_version}", target.descriptor.resource));
        let (Some(conversions), Some(custom)) = (conversions, &target.descriptor.custom) else { return Err(lost()) };
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let mut converted = self.custom.convert(&target.descriptor, custom, version, vec![document.clone()]).await?;
        let converted = converted.pop().ok_or_else(lost)?;
        conversions.made.push(Made { document, api_version, converted });
        Ok(())
    }
}
