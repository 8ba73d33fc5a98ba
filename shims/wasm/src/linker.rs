//! What the host offers to guests. The compiler checks imports against the same.

use wasmtime::Engine;

use crate::data::Data;
use crate::{lookup, sockets};

/// # Errors
/// When two definitions clash.
pub(crate) fn component(engine: &Engine) -> wasmtime::Result<wasmtime::component::Linker<Data>> {
    let mut linker = wasmtime::component::Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    sockets::replace(&mut linker)?;
    lookup::replace(&mut linker)?;
    Ok(linker)
}

/// # Errors
/// As for [`component`].
pub(crate) fn module(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<Data>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |data: &mut Data| &mut data.wasi)?;
    Ok(linker)
}
