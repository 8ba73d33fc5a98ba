//! A compiled program, linked once, from which every instance is made.

use anyhow::{Context, bail};
use wasmtime::component::Component;
use wasmtime::{Engine, InstancePre, Module, Precompiled};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use crate::data::Data;
use crate::linker;

pub(crate) enum Program {
    /// `wasi:http/incoming-handler`: an instance for each request.
    Http(ProxyPre<Data>),
    /// `wasi:cli/run`.
    Command(CommandPre<Data>),
    /// A core module of WASI preview 1 with a `_start`.
    Module(InstancePre<Data>),
}

impl Program {
    /// # Safety
    /// `artifact` must come from [`crate::compile`], unaltered.
    ///
    /// # Errors
    /// When it was compiled for another engine.
    pub(crate) unsafe fn load(engine: &Engine, artifact: &[u8]) -> anyhow::Result<Self> {
        match Engine::detect_precompiled(artifact) {
            Some(Precompiled::Component) => {
                // SAFETY: as the caller promises.
                Self::from_component(engine, &unsafe { Component::deserialize(engine, artifact) }?)
            }
            Some(Precompiled::Module) => {
                // SAFETY: as the caller promises.
                Self::from_module(engine, &unsafe { Module::deserialize(engine, artifact) }?)
            }
            None => bail!("this is no compiled program"),
        }
    }

    /// # Errors
    /// When it imports what is not offered, or exports nothing to run.
    pub(crate) fn from_component(engine: &Engine, component: &Component) -> anyhow::Result<Self> {
        let linked = linker::component(engine)?
            .instantiate_pre(component)
            .map_err(anyhow::Error::from)
            .context("the component cannot be linked")?;
        if let Ok(proxy) = ProxyPre::new(linked.clone()) {
            return Ok(Self::Http(proxy));
        }
        if let Ok(command) = CommandPre::new(linked) {
            return Ok(Self::Command(command));
        }
        let ty = component.component_type();
        let exports: Vec<_> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
        let list = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        bail!("the component exports neither wasi:http/incoming-handler nor wasi:cli/run of WASI 0.2, but {list}")
    }

    /// # Errors
    /// As for [`Program::from_component`].
    pub(crate) fn from_module(engine: &Engine, module: &Module) -> anyhow::Result<Self> {
        if module.get_export("_start").is_none() {
            bail!("the module exports no _start function");
        }
        let linked = linker::module(engine)?
            .instantiate_pre(module)
            .map_err(anyhow::Error::from)
            .context("the module cannot be linked")?;
        Ok(Self::Module(linked))
    }
}
