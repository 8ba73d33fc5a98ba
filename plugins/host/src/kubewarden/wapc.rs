//! waPC: the guest exports `__guest_call` and fetches, answers and asks through functions of the module `wapc`
//! (<https://wapc.io/docs/spec/>).

use wasmtime::{Caller, InstancePre, Linker, Store, TypedFunc, bail};

use super::talk::Talk;
use super::{capabilities, memory};
use crate::guest::Data;
use crate::guest::wasi::Exit;
use crate::plugin::log::Level;

pub(super) const FUNCTIONS: &[&str] = &[
    "__console_log",
    "__guest_error",
    "__guest_request",
    "__guest_response",
    "__host_call",
    "__host_error",
    "__host_error_len",
    "__host_response",
    "__host_response_len",
];

/// What a guest is started by, where it has it, in this order: the reactor's and the command's start of WASI, and waPC's own.
const STARTS: [&str; 3] = ["_initialize", "_start", "wapc_init"];

/// Sizes of operation and payload; 0 says that it failed.
type Call = TypedFunc<(u32, u32), u32>;

pub(super) struct Guest(Call);

impl Guest {
    /// # Errors
    /// When it traps, or is no guest of waPC.
    pub(super) fn start(store: &mut Store<Data>, module: &InstancePre<Data>) -> wasmtime::Result<Self> {
        let instance = module.instantiate(&mut *store)?;
        for name in STARTS {
            let Some(function) = instance.get_func(&mut *store, name) else { continue };
            match function.typed::<(), ()>(&mut *store)?.call(&mut *store, ()) {
                // The `main` of languages that have one ends like this, and its instance lives on.
                Err(error) if error.downcast_ref::<Exit>().is_some_and(|exit| exit.0 == 0) => {}
                done => done?,
            }
        }
        Ok(Self(instance.get_typed_func(&mut *store, "__guest_call")?))
    }

    /// The answer, or why the guest has none.
    ///
    /// # Errors
    /// When it traps.
    pub(super) fn ask(
        &self,
        store: &mut Store<Data>,
        operation: &'static str,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let sizes = (u32::try_from(operation.len())?, u32::try_from(payload.len())?);
        store.data_mut().talk = Talk { operation, request: payload, ..Talk::default() };
        let said = self.0.call(&mut *store, sizes);
        let Talk { answer, failure, .. } = std::mem::take(&mut store.data_mut().talk);
        Ok(match (said?, answer) {
            (0, _) => Err(failure.unwrap_or_else(|| "it failed and did not say why".to_owned())),
            (_, Some(answer)) => Ok(answer),
            (_, None) => Err("it succeeded and answered nothing".to_owned()),
        })
    }
}

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    const WAPC: &str = "wapc";
    linker.func_wrap(WAPC, "__guest_request", |mut caller: Caller<'_, Data>, operation: u32, payload: u32| {
        let (bytes, data) = memory::of(&mut caller)?.data_and_store_mut(&mut caller);
        memory::write(bytes, operation, data.talk.operation.as_bytes())?;
        memory::write(bytes, payload, &data.talk.request)
    })?;
    linker.func_wrap(WAPC, "__guest_response", |mut caller: Caller<'_, Data>, at: u32, size: u32| {
        let (bytes, data) = memory::of(&mut caller)?.data_and_store_mut(&mut caller);
        data.talk.answer = Some(memory::read(bytes, at, size)?.to_vec());
        wasmtime::Result::Ok(())
    })?;
    linker.func_wrap(WAPC, "__guest_error", |mut caller: Caller<'_, Data>, at: u32, size: u32| {
        let (bytes, data) = memory::of(&mut caller)?.data_and_store_mut(&mut caller);
        data.talk.failure = Some(memory::line(bytes, at, size)?);
        wasmtime::Result::Ok(())
    })?;
    linker.func_wrap(WAPC, "__console_log", |mut caller: Caller<'_, Data>, at: u32, size: u32| {
        let (bytes, data) = memory::of(&mut caller)?.data_and_store_mut(&mut caller);
        data.shared.write_log(Level::Info, &memory::line(bytes, at, size)?);
        wasmtime::Result::Ok(())
    })?;
    linker.func_wrap(
        WAPC,
        "__host_call",
        |mut caller: Caller<'_, Data>,
         binding: u32,
         binding_size: u32,
         namespace: u32,
         namespace_size: u32,
         operation: u32,
         operation_size: u32,
         payload: u32,
         payload_size: u32| {
            let answer = capabilities::ask(
                &mut caller,
                [binding, binding_size, namespace, namespace_size, operation, operation_size, payload, payload_size],
            )?;
            let succeeded = u32::from(answer.is_ok());
            caller.data_mut().talk.host = Some(answer);
            wasmtime::Result::Ok(succeeded)
        },
    )?;
    linker.func_wrap(WAPC, "__host_response_len", |caller: Caller<'_, Data>| match &caller.data().talk.host {
        Some(Ok(answer)) => answer.len() as u32,
        _ => 0,
    })?;
    linker.func_wrap(WAPC, "__host_error_len", |caller: Caller<'_, Data>| match &caller.data().talk.host {
        Some(Err(why)) => why.len() as u32,
        _ => 0,
    })?;
    for name in ["__host_response", "__host_error"] {
        linker.func_wrap(WAPC, name, |mut caller: Caller<'_, Data>, at: u32| {
            let (bytes, data) = memory::of(&mut caller)?.data_and_store_mut(&mut caller);
            match &data.talk.host {
                Some(Ok(answer)) => memory::write(bytes, at, answer),
                Some(Err(why)) => memory::write(bytes, at, why.as_bytes()),
                None => bail!("it fetches the answer to a question that it did not ask"),
            }
        })?;
    }
    Ok(())
}
