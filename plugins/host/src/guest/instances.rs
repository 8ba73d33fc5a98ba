//! Instances that stay warm, since their memory holds what they have learnt.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::Store;

use super::call::{self, Warm, processor_time};
use super::data::Data;
use crate::error::CallError;
use crate::plugin::Shared;

/// Instances that stay when nobody calls; each has a memory of its own.
const KEEP: usize = 4;
/// How long a call may hold up a thread that others wait for.
const BRIEF: Duration = Duration::from_millis(4);

/// Makes a warm instance of the bindings `I`.
pub(crate) type Make<I> = Box<dyn Fn(&mut Store<Data>) -> wasmtime::Result<Result<I, String>> + Send + Sync>;

pub(crate) struct Instances<I> {
    pub(crate) shared: Arc<Shared>,
    make: Make<I>,
    keep: usize,
    idle: Mutex<Vec<Warm<I>>>,
}

impl<I> Instances<I> {
    pub(crate) fn new(shared: Arc<Shared>, make: Make<I>) -> Self {
        Self { shared, make, keep: KEEP, idle: Mutex::default() }
    }

    /// The same, with a new instance for every call.
    pub(crate) fn fresh(shared: Arc<Shared>, make: Make<I>) -> Self {
        Self { shared, make, keep: 0, idle: Mutex::default() }
    }

    /// A new instance, with its start counted as a call.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make(&self) -> Result<Warm<I>, CallError> {
        call::start(&self.shared, &self.make)
    }

    pub(crate) fn put_back(&self, warm: Warm<I>) {
        let mut idle = self.idle.lock();
        if warm.is_sound() && idle.len() < self.keep {
            idle.push(warm);
        }
    }

    /// Calls some instance that is free, the one used last first.
    ///
    /// # Errors
    /// As [`Warm::call`]; and when the plugin failed too often.
    pub(crate) fn call<R>(
        &self,
        function: &'static str,
        call: impl FnOnce(&mut Store<Data>, &I) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        self.shared.admit()?;
        let idle = self.idle.lock().pop();
        let answer = idle.map_or_else(|| self.make(), Ok).and_then(|mut warm| {
            let before = (!self.shared.pace.is_quick()).then(processor_time);
            let answer = warm.call(function, self.shared.limits.deadline, call);
            if let Some(before) = before {
                self.shared.pace.took(processor_time().saturating_sub(before), BRIEF);
            }
            self.put_back(warm);
            answer
        });
        self.shared.ended(answer.as_ref().err());
        answer
    }

    /// [`Instances::call`] on a thread that others wait for: only of a plugin that has been quick of late, in an instance that
    /// is there, and for a few milliseconds at most. `None` when it came to nothing: then it must be called again where it may
    /// take its time.
    pub(crate) fn call_briefly<R>(
        &self,
        function: &'static str,
        call: impl FnOnce(&mut Store<Data>, &I) -> wasmtime::Result<Result<R, String>>,
    ) -> Option<Result<R, CallError>> {
        if !self.shared.pace.is_quick() || !self.shared.is_trusted() {
            return None;
        }
        let mut warm = self.idle.lock().pop()?;
        let deadline = self.shared.limits.deadline;
        let answer = warm.call_briefly(function, (deadline.min(BRIEF), deadline), call);
        self.put_back(warm);
        if matches!(answer, Err(CallError::Deadline { .. })) && BRIEF < deadline {
            self.shared.pace.was_slow();
            return None;
        }
        self.shared.ended(answer.as_ref().err());
        Some(answer)
    }

    /// [`Instances::call`] of which neither statistics nor the breaker learn.
    ///
    /// # Errors
    /// The same; also while one call finds out whether the plugin works again.
    pub(crate) fn call_aside<R>(
        &self,
        function: &'static str,
        deadline: Duration,
        call: impl FnOnce(&mut Store<Data>, &I) -> wasmtime::Result<Result<R, String>>,
    ) -> Result<R, CallError> {
        if !self.shared.is_trusted() {
            return Err(CallError::Open { plugin: self.shared.name.clone(), retry_in: Duration::ZERO });
        }
        let idle = self.idle.lock().pop();
        idle.map_or_else(|| self.make(), Ok).and_then(|mut warm| {
            let answer = warm.call_uncounted(function, deadline, call);
            self.put_back(warm);
            answer
        })
    }
}
