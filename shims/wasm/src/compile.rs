//! A short-lived process that turns untrusted bytes into machine code, and can do nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write, stdin, stdout};

use anyhow::{Context, bail};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::program::Program;
use crate::{engine, privileges};

/// What is compiled, and so what it must import and export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// What [`Program::load`] takes.
    Pod,
    /// What a server loads, which checks it by itself.
    Plugin,
}

/// Module or component on standard input, machine code on standard output.
pub(crate) fn run(purpose: For) -> anyhow::Result<()> {
    privileges::enter_sandbox().context("enter the sandbox")?;
    let mut bytes = Vec::new();
    stdin().lock().read_to_end(&mut bytes).context("read the module")?;
    let artifact = compile(&engine::compiler()?, &bytes, purpose)?;
    stdout().lock().write_all(&artifact).context("write the artifact")
}

fn compile(engine: &Engine, bytes: &[u8], purpose: For) -> anyhow::Result<Vec<u8>> {
    if !bytes.starts_with(b"\0asm") {
        bail!("not a Wasm module or component");
    }
    // The fourth to seventh byte are version and layer; layer 1 is the component model's.
    let component = bytes.get(6..8) == Some(&[1, 0]);
    if component {
        let component = Component::from_binary(engine, bytes)?;
        if purpose == For::Pod {
            Program::from_component(engine, &component)?;
        }
        Ok(component.serialize()?)
    } else {
        let module = Module::from_binary(engine, bytes)?;
        if purpose == For::Pod {
            Program::from_module(engine, &module)?;
        }
        Ok(module.serialize()?)
    }
}

/// Prints what an artifact must have been compiled for to be of use to this executable.
pub(crate) fn fingerprint() -> anyhow::Result<()> {
    let mut hasher = DefaultHasher::new();
    engine::compiler()?.precompile_compatibility_hash().hash(&mut hasher);
    println!("{:016x}", hasher.finish());
    Ok(())
}
