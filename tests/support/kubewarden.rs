//! Policies of Kubewarden as `kwctl annotate` and `kwctl push` leave them.

use serde_json::Value;

use crate::executables::kubewarden;
use crate::images::{Layer, lay_out, push};
use crate::registry::Registry;

/// A policy of `examples/kubewarden` with this metadata, pushed in Kubewarden's layout. Answers its reference.
///
/// # Panics
/// When it cannot be built or pushed.
pub fn policy(registry: &Registry, module: &str, metadata: &Value, name: &str) -> String {
    let work = tempfile::tempdir().expect("a folder");
    let layer = Layer {
        bytes: annotated(module, metadata),
        media_type: "application/vnd.wasm.content.layer.v1+wasm",
        annotations: Value::Null,
    };
    lay_out(work.path(), ("{}", "application/vnd.wasm.config.v1+json"), &layer, &metadata["annotations"]);
    push(registry, work.path(), name)
}

/// The module with its metadata.
///
/// # Panics
/// When it cannot be built.
pub fn annotated(module: &str, metadata: &Value) -> Vec<u8> {
    let mut bytes = std::fs::read(kubewarden(module)).expect("it was built");
    let (name, metadata) = ("io.kubewarden.metadata", metadata.to_string());
    // A custom section: its id, its size, and its name before its contents (core specification, binary format).
    let mut section = leb128(name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(metadata.as_bytes());
    bytes.push(0);
    bytes.extend(leb128(section.len()));
    bytes.extend(section);
    bytes
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
