//! Objects must name their owner in the label `owner`; a stamp can be put on those that do.

use kubewarden_policy_sdk::settings::Validatable;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Owners that there are; anybody may be one without.
    pub owners: Option<Vec<String>>,
    /// An annotation that is set to the owner.
    pub stamp: Option<String>,
    /// Whether an owner is somebody who has a namespace (label `owner`).
    pub by_namespaces: bool,
    /// Refuses everything with what is known of these.
    pub outside: Option<Outside>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Outside {
    pub user: String,
    pub host: String,
    pub image: String,
}

impl Validatable for Settings {
    fn validate(&self) -> Result<(), String> {
        match &self.owners {
            Some(owners) if owners.is_empty() => Err("nobody is left who could own anything".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The owner, or why there is none.
pub fn owner(object: &Value, settings: &Settings) -> Result<String, String> {
    let Some(owner) = object["metadata"]["labels"]["owner"].as_str() else {
        return Err("it has no label \"owner\"".to_owned());
    };
    match &settings.owners {
        Some(owners) if !owners.iter().any(|known| known == owner) => Err(format!("{owner} is no owner")),
        _ => Ok(owner.to_owned()),
    }
}

/// The object with its stamp, where one is wanted.
pub fn stamped(object: &Value, owner: &str, settings: &Settings) -> Option<Value> {
    let stamp = settings.stamp.as_ref()?;
    let mut object = object.clone();
    object["metadata"]["annotations"][stamp] = json!(owner);
    Some(object)
}
