//! From a stranger's bytes to code.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use crate::artifact::Code;
use crate::error::LoadError;

/// How long the sandbox may take. A development build on a busy machine needs more than a minute for Python's interpreter.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Component,
    Module,
}

/// # Errors
/// When it is neither.
pub(super) fn kind(bytes: &[u8]) -> Result<Kind, LoadError> {
    // Four bytes of magic, two of version, two of layer, 1 being the component model's (component-model/design/mvp/Binary.md).
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(Kind::Component),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => Ok(Kind::Module),
        _ => Err(LoadError::NotWasm),
    }
}

/// Compiles on this thread.
pub(super) fn here(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compiled = match kind(bytes)? {
        Kind::Component => engine.precompile_component(bytes),
        Kind::Module => engine.precompile_module(bytes),
    };
    compiled.map_err(|error| LoadError::Compile(format!("{error:#}")))
}

/// Compiles in a process that can do nothing else.
pub(super) async fn in_sandbox(compiler: &Path, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    let failed = |error: std::io::Error| LoadError::Compile(format!("{}: {error}", compiler.display()));
    let mut command = Command::new(compiler);
    command.args(["compile", "plugin"]).env_clear().current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take();
    let feed = async move {
        if let Some(stdin) = &mut stdin {
            // A compiler that ends early says why by itself.
            let _ = stdin.write_all(bytes).await;
        }
        drop(stdin);
    };
    let (output, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(child.wait_with_output(), feed) })
        .await
        .map_err(|_| LoadError::Compile(format!("the compiler took longer than {} s", PATIENCE.as_secs())))?;
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    match String::from_utf8_lossy(&output.stderr).trim() {
        "" => Err(LoadError::Compile(format!("the compiler ended with {}", output.status))),
        why => Err(LoadError::Compile(why.to_owned())),
    }
}

/// # Safety
/// `compiled` must come from [`here`] or [`in_sandbox`], unaltered.
pub(super) unsafe fn code(engine: &Engine, compiled: &[u8]) -> Result<Code, LoadError> {
    let code = match Engine::detect_precompiled(compiled) {
        // SAFETY: as the caller promises.
        Some(Precompiled::Component) => unsafe { Component::deserialize(engine, compiled) }.map(Code::Component),
        // SAFETY: as the caller promises.
        Some(Precompiled::Module) => unsafe { Module::deserialize(engine, compiled) }.map(Code::Module),
        None => return Err(LoadError::Compile("the compiler answered no code".to_owned())),
    };
    code.map_err(|error| LoadError::Compile(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_and_modules_are_told_apart_by_their_layer() {
        assert_eq!(kind(b"\0asm\x0d\0\x01\0").unwrap(), Kind::Component);
        assert_eq!(kind(b"\0asm\x01\0\0\0").unwrap(), Kind::Module);
        for bytes in [&b"\0asm"[..], b"", b"\x7fELF\x01\0\0\0", b"\0asm\x01\0\x02\0"] {
            assert!(matches!(kind(bytes), Err(LoadError::NotWasm)), "{bytes:?}");
        }
    }
}
