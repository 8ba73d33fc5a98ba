//! WASI mode: the policy is a program, run anew for every question. The argument says what is asked, the request is its
//! standard input, the answer its standard output; answers of the host are added to the standard input.

use wasmtime::{Caller, InstancePre, Linker, Store, TypedFunc};

use super::talk::Talk;
use super::{capabilities, memory};
use crate::guest::Data;
use crate::guest::wasi::Exit;

/// The modules with the function `call` that asks the host; the second is JavaScript policies'.
pub(super) const HOSTS: [&str; 2] = ["host", "kubewarden:javy/host"];

pub(super) struct Program(TypedFunc<(), ()>);

impl Program {
    /// # Errors
    /// When it cannot be made, or does not start as programs do.
    pub(super) fn new(store: &mut Store<Data>, module: &InstancePre<Data>) -> wasmtime::Result<Self> {
        let instance = module.instantiate(&mut *store)?;
        Ok(Self(instance.get_typed_func(&mut *store, "_start")?))
    }

    /// What it wrote, or why it failed.
    ///
    /// # Errors
    /// When it traps.
    pub(super) fn run(
        &self,
        store: &mut Store<Data>,
        operation: &'static str,
        input: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        store.data_mut().talk = Talk { operation, request: input, is_program: true, ..Talk::default() };
        let ended = self.0.call(&mut *store, ());
        let Talk { answer, complaint, .. } = std::mem::take(&mut store.data_mut().talk);
        let status = match ended {
            Ok(()) => 0,
            Err(error) => match error.downcast_ref::<Exit>() {
                Some(exit) => exit.0,
                None => return Err(error),
            },
        };
        Ok(match (status, String::from_utf8_lossy(&complaint).trim()) {
            (0, _) => Ok(answer.unwrap_or_default()),
            (status, "") => Err(format!("it ended with status {status}")),
            (status, complaint) => Err(format!("it ended with status {status}: {complaint}")),
        })
    }
}

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    for module in HOSTS {
        linker.func_wrap(
            module,
            "call",
            |mut caller: Caller<'_, Data>,
             binding: u32,
             binding_size: u32,
             namespace: u32,
             namespace_size: u32,
             operation: u32,
             operation_size: u32,
             payload: u32,
             payload_size: u32| {
                let (bytes, data) = memory::of(&mut caller)?.data_and_store_mut(&mut caller);
                let asked = capabilities::Asked {
                    binding: memory::text(bytes, binding, binding_size)?,
                    namespace: memory::text(bytes, namespace, namespace_size)?,
                    operation: memory::text(bytes, operation, operation_size)?,
                    payload: memory::read(bytes, payload, payload_size)?,
                };
                let answer = asked.answer(&data.shared);
                let failed = u32::from(answer.is_err());
                // What it has read is not needed again.
                let read = std::mem::take(&mut data.talk.read);
                data.talk.request.drain(..read);
                data.talk.request.extend_from_slice(&answer.unwrap_or_else(String::into_bytes));
                wasmtime::Result::Ok(failed)
            },
        )?;
    }
    Ok(())
}
