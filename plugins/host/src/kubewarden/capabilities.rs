//! What a policy may ask the host for while it is asked: lines for the log, and objects of the cluster.

use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wasmtime::Caller;

use super::memory::{self, read, text};
use super::objects::{self, Wanted};
use super::outside;
use crate::guest::Data;
use crate::plugin::Shared;
use crate::plugin::log::Level;
use crate::policy::Context;

/// Those that are answered (`namespace/operation`), if the objects are granted; logging always is.
const OFFERED: &[&str] = &["kubernetes/get_resource", "kubernetes/list_resources_all", "kubernetes/list_resources_by_namespace"];

/// Whether a capability is answered without being granted by its name; a pattern such as `kubernetes/*` asks for whatever
/// there is.
pub(super) fn offers(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => OFFERED.iter().any(|name| name.starts_with(prefix)),
        None => OFFERED.contains(&pattern),
    }
}

/// Bytes of a question. What is made of its JSON takes the server's memory, and many times as much.
const LONGEST: usize = 1 << 20;

/// A question to the host.
struct Asked<'a> {
    binding: &'a str,
    namespace: &'a str,
    operation: &'a str,
    /// JSON.
    payload: &'a [u8],
}

/// Answers the host call of either kind of guest, which says where binding, namespace, operation and payload lie: address and
/// size of each.
///
/// # Errors
/// When they do not lie in its memory.
pub(super) fn ask(guest: &mut Caller<'_, Data>, places: [u32; 8]) -> wasmtime::Result<Result<Vec<u8>, String>> {
    let [binding, binding_size, namespace, namespace_size, operation, operation_size, payload, payload_size] = places;
    let (bytes, data) = memory::of(guest)?.data_and_store_mut(guest);
    let asked = Asked {
        binding: text(bytes, binding, binding_size)?,
        namespace: text(bytes, namespace, namespace_size)?,
        operation: text(bytes, operation, operation_size)?,
        payload: read(bytes, payload, payload_size)?,
    };
    Ok(asked.answer(&data.shared, data.deadline))
}

#[derive(Deserialize)]
struct Get {
    api_version: String,
    kind: String,
    name: String,
    namespace: Option<String>,
    field_masks: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct List {
    api_version: String,
    kind: String,
    #[serde(default)]
    namespace: String,
    label_selector: Option<String>,
    field_selector: Option<String>,
    field_masks: Option<Vec<String>>,
}

impl Asked<'_> {
    /// JSON, or why there is none.
    fn answer(&self, shared: &Shared, until: Instant) -> Result<Vec<u8>, String> {
        if self.binding != "kubewarden" {
            return Err(format!("unknown binding: {}", self.binding));
        }
        if self.payload.len() > LONGEST {
            return Err(format!("{}/{} is asked in more than {LONGEST} bytes", self.namespace, self.operation));
        }
        match (self.namespace, self.operation) {
            ("tracing", "log") => {
                let (level, line) = line(self.payload);
                shared.write_log(level, &line);
                Ok(Vec::new())
            }
            ("kubernetes", "get_resource") => {
                let Get { api_version, kind, name, namespace, field_masks } = self.read()?;
                let found = context(shared)?.get(&api_version, &kind, namespace.as_deref().unwrap_or_default(), &name);
                let found = found.ok_or_else(|| {
                    format!("{api_version} {kind} named {name:?} is not there, or not of a kind that the policy may ask for")
                })?;
                objects::masked(found, field_masks.as_deref())
            }
            ("kubernetes", "list_resources_all" | "list_resources_by_namespace") => {
                let List { api_version, kind, namespace, label_selector, field_selector, field_masks } = self.read()?;
                if self.operation == "list_resources_by_namespace" && namespace.is_empty() {
                    return Err("list_resources_by_namespace needs a namespace".to_owned());
                }
                let context = context(shared)?;
                let wanted = Wanted {
                    api_version: &api_version,
                    kind: &kind,
                    labels: label_selector.as_deref().unwrap_or_default(),
                    fields: field_selector.as_deref().unwrap_or_default(),
                    masks: field_masks.as_deref(),
                    // It has to fit into the guest's memory.
                    most: shared.limits.memory,
                    until,
                };
                objects::list(&wanted, |take| context.list(&api_version, &kind, &namespace, take))
            }
            (namespace, operation) => {
                let name = format!("{namespace}/{operation}");
                let outside = shared.runtime.outside.as_deref().filter(|_| outside::offers(&name));
                match outside {
                    Some(outside) if outside::is_granted(&shared.grants, &name) => {
                        outside::answer((outside, shared.clock().now()), &name, self.payload, until)
                    }
                    Some(_) => Err(format!("the host capability {name} is not granted (spec.capabilities)")),
                    None => Err(format!("the host capability {name} is not offered by this server")),
                }
                .inspect_err(|why| shared.write_log(Level::Warn, why))
            }
        }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(self.payload).map_err(|error| format!("{}/{}: {error}", self.namespace, self.operation))
    }
}

fn context(shared: &Shared) -> Result<&dyn Context, String> {
    shared.context.get().map(|context| &**context).ok_or_else(|| "the policy may not ask for objects of the cluster".to_owned())
}

/// An event as the SDKs' loggers send it: its level, and its message with whatever else it says.
fn line(payload: &[u8]) -> (Level, String) {
    let Ok(mut event) = serde_json::from_slice::<Map<String, Value>>(payload) else {
        return (Level::Info, String::from_utf8_lossy(payload).into_owned());
    };
    let text = |value: Option<Value>| value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let level = match text(event.remove("level")).as_str() {
        "trace" | "debug" => Level::Debug,
        "warning" | "warn" => Level::Warn,
        "error" | "critical" => Level::Error,
        _ => Level::Info,
    };
    let mut line = text(event.remove("message"));
    for (key, value) in event.iter().filter(|(key, _)| !["line", "column", "file"].contains(&key.as_str())) {
        line.push_str(&format!(" {key}={value}"));
    }
    (level, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_offered_by_name_or_pattern() {
        for name in ["kubernetes/get_resource", "kubernetes/*", "*"] {
            assert!(offers(name), "{name}");
        }
        for name in ["kubernetes/can_i", "oci/v1/verify", "oci/*", "net/v1/dns_lookup_host", "crypto/*", ""] {
            assert!(!offers(name), "{name}");
        }
    }

    #[test]
    fn an_event_is_a_line_of_its_level() {
        let event = br#"{"level":"warning","message":"no label","line":3,"column":1,"file":"lib.rs","object":"web"}"#;
        assert_eq!(line(event), (Level::Warn, "no label object=\"web\"".to_owned()));
        assert_eq!(line(b"plain"), (Level::Info, "plain".to_owned()));
    }
}
