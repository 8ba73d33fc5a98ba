//! What a module says of itself, in the custom section that `kwctl annotate` writes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use wasmparser::{Parser, Payload};

use crate::error::LoadError;

const SECTION: &str = "io.kubewarden.metadata";

/// How a policy is run, in Kubewarden's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ExecutionMode {
    #[default]
    #[serde(rename = "kubewarden-wapc")]
    KubewardenWapc,
    #[serde(rename = "wasi")]
    Wasi,
    #[serde(rename = "opa")]
    Opa,
    #[serde(rename = "gatekeeper")]
    Gatekeeper,
}

impl fmt::Display for ExecutionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KubewardenWapc => "kubewarden-wapc",
            Self::Wasi => "wasi",
            Self::Opa => "opa",
            Self::Gatekeeper => "gatekeeper",
        })
    }
}

/// A kind of which a policy asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextAwareResource {
    pub api_version: String,
    pub kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// `v1`; a policy without metadata is asked.
    pub protocol_version: Option<String>,
    pub execution_mode: ExecutionMode,
    /// Whether it may change objects; a policy without metadata does not say.
    pub mutating: Option<bool>,
    pub context_aware_resources: Vec<ContextAwareResource>,
    /// Such as `oci/v1/verify`, or `oci/*`.
    pub host_capabilities: Vec<String>,
    /// Such as `io.kubewarden.policy.title`.
    pub annotations: BTreeMap<String, String>,
}

/// The section as it stands: empty lists may be null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    protocol_version: Option<String>,
    #[serde(default)]
    execution_mode: ExecutionMode,
    #[serde(default)]
    mutating: bool,
    context_aware_resources: Option<Vec<ContextAwareResource>>,
    host_capabilities: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Metadata {
    /// Of a core module with these exports; `None` when it is no policy of Kubewarden.
    ///
    /// # Errors
    /// When what it says is not as Kubewarden has it, or not so.
    pub(crate) fn of(module: &[u8], exports: &[String]) -> Result<Option<Self>, LoadError> {
        let has = |name: &str| exports.iter().any(|export| export == name);
        let is_rego = exports.iter().any(|export| export.starts_with("opa_"));
        let metadata = match section(module)? {
            Some(written) => Self {
                protocol_version: written.protocol_version,
                execution_mode: written.execution_mode,
                mutating: Some(written.mutating),
                context_aware_resources: written.context_aware_resources.unwrap_or_default(),
                host_capabilities: written.host_capabilities.unwrap_or_default(),
                annotations: written.annotations.unwrap_or_default(),
            },
            None if has("__guest_call") => Self::default(),
            None if is_rego => Self { execution_mode: ExecutionMode::Opa, ..Self::default() },
            None => return Ok(None),
        };
        let needed = match metadata.execution_mode {
            ExecutionMode::KubewardenWapc => "__guest_call",
            ExecutionMode::Wasi => "_start",
            ExecutionMode::Opa | ExecutionMode::Gatekeeper => return Ok(Some(metadata)),
        };
        if !has(needed) {
            let mode = metadata.execution_mode;
            return Err(LoadError::Kubewarden(format!("its execution mode is {mode}, and it exports no {needed}")));
        }
        Ok(Some(metadata))
    }
}

fn section(module: &[u8]) -> Result<Option<Written>, LoadError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.map_err(|error| LoadError::Compile(error.to_string()))?
            && section.name() == SECTION
        {
            let wrong = |error| LoadError::Kubewarden(format!("its section {SECTION} is not as Kubewarden writes it: {error}"));
            return serde_json::from_slice(section.data()).map(Some).map_err(wrong);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(metadata: Option<&str>, exports: &[&str]) -> Result<Option<Metadata>, LoadError> {
        let section = metadata.map(|text| format!("(@custom \"{SECTION}\" \"{}\")", text.replace('\n', "").replace('"', "\\\"")));
        let module = wat::parse_str(format!("(module {})", section.unwrap_or_default())).unwrap();
        Metadata::of(&module, &exports.iter().map(|export| (*export).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_section_says_how_it_is_run_and_what_it_needs() {
        let text = r#"{"protocolVersion":"v1","rules":[],"annotations":{"io.kubewarden.policy.title":"labels"},"mutating":true,
            "backgroundAudit":true,"executionMode":"wasi","policyType":"kubernetes",
            "contextAwareResources":[{"apiVersion":"v1","kind":"Namespace"}],"hostCapabilities":["net/*"]}"#;
        let metadata = of(Some(text), &["_start"]).unwrap().unwrap();
        assert_eq!((metadata.execution_mode, metadata.mutating), (ExecutionMode::Wasi, Some(true)));
        assert_eq!(metadata.context_aware_resources[0].kind, "Namespace");
        assert_eq!((metadata.host_capabilities[0].as_str(), metadata.annotations.len()), ("net/*", 1));
        let old = of(Some(r#"{"protocolVersion":"v1","rules":[],"mutating":false,"annotations":null}"#), &["__guest_call"]);
        assert_eq!(old.unwrap().unwrap().execution_mode, ExecutionMode::KubewardenWapc);
    }

    #[test]
    fn without_a_section_the_exports_tell() {
        assert_eq!(of(None, &["memory", "_start"]).unwrap(), None);
        assert_eq!(of(None, &["__guest_call"]).unwrap(), Some(Metadata::default()));
        assert_eq!(of(None, &["opa_eval_ctx_new"]).unwrap().unwrap().execution_mode, ExecutionMode::Opa);
    }

    #[test]
    fn a_section_that_is_wrong_or_not_true_is_told() {
        for (text, exports, wanted) in [
            ("hello", &["__guest_call"][..], "not as Kubewarden writes it"),
            (r#"{"executionMode":"magic"}"#, &["__guest_call"][..], "magic"),
            ("{}", &["_start"][..], "exports no __guest_call"),
            (r#"{"executionMode":"wasi"}"#, &["__guest_call"][..], "exports no _start"),
        ] {
            let error = of(Some(text), exports).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
