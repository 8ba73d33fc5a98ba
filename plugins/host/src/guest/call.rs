//! One call of a guest: bounded in time, its failure named.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use super::data::{Brief, Data};
use super::wasi::Late;
use crate::error::CallError;
use crate::plugin::Shared;
use crate::runtime::ticker::ticks;

/// More processor time than this is not brief, once the time is up.
const ENOUGH: Duration = Duration::from_millis(2);

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
    store.epoch_deadline_callback(|mut store| late(store.data_mut()));
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

    /// [`Warm::call`] for a thread that others wait for: it ends after about so much processor time.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn call_briefly<R>(
        &mut self,
        function: &'static str,
        (brief, deadline): (Duration, Duration),
        call: impl FnOnce(&mut Store<Data>, &I) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        self.store.data_mut().brief = Some(Brief { until: Instant::now() + deadline, used: None });
        let answer = self.call(function, brief, call);
        self.store.data_mut().brief = None;
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

/// A guest's time is up: unless it holds up others, that is its end. Then it is looked at whether it was let run at all.
fn late(data: &mut Data) -> wasmtime::Result<UpdateDeadline> {
    if let Some(Brief { until, used }) = &mut data.brief
        && Instant::now() < *until
    {
        let now = processor_time();
        if used.is_none_or(|before| now.saturating_sub(before) < ENOUGH) {
            *used = used.or(Some(now));
            return Ok(UpdateDeadline::Continue(ticks(ENOUGH)));
        }
    }
    Err(Trap::Interrupt.into())
}

/// What this thread has used; zero where nobody counts it.
pub(super) fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
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
        Err(error) if error.is::<Late>() || error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => {
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
