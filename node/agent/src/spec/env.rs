//! A container's environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Secret};
use mizzen_api::Reason;
use mizzen_client::Client;
use mizzen_reconcile::typed::{Kind, gvr};
use mizzen_volumes::{PodContext, fields};

use super::expand::expand;
use crate::error::HookError;

/// The variables in order, later ones winning: the image's, then what is told of services, then `envFrom`, then `env`.
pub(crate) async fn environment(
    client: &dyn Client,
    pod: &PodContext<'_>,
    container: &Container,
    image: &[String],
    services: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, HookError> {
    let sources = Sources { client, pod };
    let mut variables = Variables::default();
    for entry in image {
        if let Some((name, value)) = entry.split_once('=') {
            variables.set(name, value.to_owned());
        }
    }
    for (name, value) in services {
        variables.set(&name, value);
    }
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            let map = sources.get::<ConfigMap>("configmap", &source.name, source.optional).await?;
            for (key, value) in map.iter().flat_map(|map| map.data.iter().flatten()) {
                variables.set(&format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(source) = &from.secret_ref {
            let secret = sources.get::<Secret>("secret", &source.name, source.optional).await?;
            for (key, value) in secret.iter().flat_map(|secret| secret.data.iter().flatten()) {
                variables.set(&format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    // `$(NAME)` sees what this container declares, not what its image brings.
    let mut declared: BTreeMap<String, String> = variables.since(image);
    for EnvVar { name, value, value_from } in container.env.iter().flatten() {
        let value = match value_from {
            Some(source) => match sources.value(container, source).await? {
                Some(value) => value,
                None => continue,
            },
            None => expand(value.as_deref().unwrap_or_default(), |name| declared.get(name).map(String::as_str)),
        };
        declared.insert(name.clone(), value.clone());
        variables.set(name, value);
    }
    Ok(variables.0)
}

#[derive(Default)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Those that are not exactly as the image has them.
    fn since(&self, image: &[String]) -> BTreeMap<String, String> {
        let is_images = |name: &str, value: &str| image.iter().any(|entry| entry.split_once('=') == Some((name, value)));
        self.0.iter().filter(|(name, value)| !is_images(name, value)).cloned().collect()
    }
}

struct Sources<'a> {
    client: &'a dyn Client,
    pod: &'a PodContext<'a>,
}

impl Sources<'_> {
    async fn get<T: Kind + k8s_openapi::Resource>(
        &self,
        kind: &str,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<Arc<T>>, HookError> {
        match self.client.get(&gvr::<T>(), self.pod.namespace(), name).await {
            Ok(object) => {
                let decoded = object.typed::<T>().map_err(|e| HookError::Config(format!("{kind} \"{name}\": {e}")))?;
                Ok(Some(decoded))
            }
            Err(status) if status.is(Reason::NotFound) && optional == Some(true) => Ok(None),
            Err(status) if status.is(Reason::NotFound) => Err(HookError::Config(format!("{kind} \"{name}\" not found"))),
            Err(status) => Err(HookError::Config(format!("get {kind} \"{name}\": {status}"))),
        }
    }

    /// `None` when an optional source is missing: the variable is left out.
    async fn value(&self, container: &Container, source: &EnvVarSource) -> Result<Option<String>, HookError> {
        let config = |error: mizzen_volumes::VolumeError| HookError::Config(error.to_string());
        if let Some(selector) = &source.field_ref {
            return fields::field(self.pod, selector).map(Some).map_err(config);
        }
        if let Some(selector) = &source.resource_field_ref {
            return fields::resource(self.pod, selector, Some(container)).map(Some).map_err(config);
        }
        if let Some(selector) = &source.config_map_key_ref {
            let map = self.get::<ConfigMap>("configmap", &selector.name, selector.optional).await?;
            let value = map.and_then(|map| map.data.as_ref()?.get(&selector.key).cloned());
            return self.key(value, "ConfigMap", &selector.name, &selector.key, selector.optional);
        }
        if let Some(selector) = &source.secret_key_ref {
            let secret = self.get::<Secret>("secret", &selector.name, selector.optional).await?;
            let value = secret
                .and_then(|secret| Some(String::from_utf8_lossy(&secret.data.as_ref()?.get(&selector.key)?.0).into_owned()));
            return self.key(value, "Secret", &selector.name, &selector.key, selector.optional);
        }
        Err(HookError::Config("an environment variable's valueFrom names a source that this node does not have".into()))
    }

    fn key(
        &self,
        value: Option<String>,
        kind: &str,
        name: &str,
        key: &str,
        optional: Option<bool>,
    ) -> Result<Option<String>, HookError> {
        match value {
            None if optional != Some(true) => {
                Err(HookError::Config(format!("couldn't find key {key} in {kind} {}/{name}", self.pod.namespace())))
            }
            value => Ok(value),
        }
    }
}
