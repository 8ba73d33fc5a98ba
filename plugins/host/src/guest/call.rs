//! One call of a guest: bounded in time, its failure named.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, WasmBacktrace};

use super::data::Data;
use super::wasi::Overslept;
use crate::error::CallError;
use crate::plugin::Shared;
use crate::runtime::ticker::ticks;

/// An instance that keeps its memory between calls.
pub(crate) struct Warm<I> {
    store: Store<Data>,
    bindings: I,
    /// It trapped: its memory may be anything.
    broken: bool,
}

/// A new instance of the plugin, ready to be called.
///
/// # Errors
/// When it cannot be made, traps or refuses.
pub(crate) fn start<I>(
    shared: &Arc<Shared>,
    make: impl FnOnce(&mut Store<Data>) -> wasmtime::Result<Result<I, String>>,
) -> Result<Warm<I>, CallError> {
    let mut store = Store::new(&shared.runtime.engine, Data::new(Arc::clone(shared)));
    store.limiter(|data| data);
    store.epoch_deadline_trap();
    let bindings = bounded(&mut store, "start", shared.limits.start, make).map_err(|error| match error {
        CallError::Trap { plugin, why, .. } | CallError::Answer { plugin, why, .. } => CallError::Instance { plugin, why },
        other => other,
    })?;
    Ok(Warm { store, bindings, broken: false })
}

impl<I> Warm<I> {
    pub(crate) fn is_sound(&self) -> bool {
        !self.broken
    }

    /// Calls `function` by `call`, whose inner error says what is wrong with the answer.
    ///
    /// # Errors
    /// When there is no answer, or none that can be one.
    pub(crate) fn call<R>(
        &mut self,
        function: &'static str,
        deadline: Duration,
        call: impl FnOnce(&mut Store<Data>, &I) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        let begun = Instant::now();
        let answer = self.call_uncounted(function, deadline, call);
        self.store.data().shared.stats.record(begun.elapsed());
        answer
    }

    /// [`Warm::call`], of which statistics learn nothing.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn call_uncounted<R>(
        &mut self,
        function: &'static str,
        deadline: Duration,
        call: impl FnOnce(&mut Store<Data>, &I) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        let bindings = &self.bindings;
        let answer = bounded(&mut self.store, function, deadline, |store| call(store, bindings));
        self.broken = self.broken || matches!(&answer, Err(error) if !matches!(error, CallError::Answer { .. }));
        answer
    }
}

fn bounded<R>(
    store: &mut Store<Data>,
    function: &'static str,
    deadline: Duration,
    call: impl FnOnce(&mut Store<Data>) -> wasmtime::Result<Result<R, String>>,
) -> Result<R, CallError> {
    let shared = Arc::clone(&store.data().shared);
    let _running = shared.runtime.ticker.run();
    let data = store.data_mut();
    data.exceeded = false;
    data.deadline = Instant::now() + deadline;
    store.set_epoch_deadline(ticks(deadline));
    let plugin = || shared.name.clone();
    match call(store) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(CallError::Answer { plugin: plugin(), function, why }),
        Err(error) if error.is::<Overslept>() || error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => {
            Err(CallError::Deadline { plugin: plugin(), function, deadline })
        }
        Err(_) if store.data().exceeded => Err(CallError::Memory { plugin: plugin(), function, limit: shared.limits.memory }),
        Err(error) => Err(CallError::Trap { plugin: plugin(), function, why: explain(&error) }),
    }
}

/// A trap and where it happened, the innermost functions first.
fn explain(error: &wasmtime::Error) -> String {
    const FRAMES: usize = 6;
    let cause = error.root_cause().to_string();
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return cause };
    let names: Vec<_> = trace
        .frames()
        .iter()
        .take(FRAMES)
        .filter_map(|frame| frame.symbols().iter().find_map(|symbol| symbol.name()).or(frame.func_name()))
        .collect();
    if names.is_empty() { cause } else { format!("{cause} (in {})", names.join(", called by ")) }
}
