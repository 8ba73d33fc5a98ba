//! WASI mode: the policy is a program, run anew for every question. The argument says what is asked, the request is its
//! standard input, the answer its standard output; answers of the host are added to the standard input.

use wasmtime::{Caller, InstancePre, Linker, Store, TypedFunc, bail};

use super::capabilities;
use super::talk::Talk;
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
                let answer = capabilities::ask(
                    &mut caller,
                    [binding, binding_size, namespace, namespace_size, operation, operation_size, payload, payload_size],
                )?;
                let failed = u32::from(answer.is_err());
                let data = caller.data_mut();
                let most = data.shared.limits.memory;
                if !data.talk.hear(&answer.unwrap_or_else(String::into_bytes), most) {
                    // What waits for it is the server's memory, and counts as its own.
                    data.exceeded = true;
                    bail!("it does not read what the host answers");
                }
                wasmtime::Result::Ok(failed)
            },
        )?;
    }
    Ok(())
}
