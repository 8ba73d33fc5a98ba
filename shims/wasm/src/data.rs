//! What an instance of a pod has at hand, and what it is charged for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wasmtime::{ResourceLimiter, bail};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::cpu::Cpu;
use crate::names::Names;
use crate::outgoing::Outgoing;
use crate::sockets::Addresses;

/// Bytes of a table's element.
const ELEMENT: usize = size_of::<usize>();

/// What all instances of a pod use together.
pub(crate) struct Usage {
    /// Bytes.
    limit: Option<u64>,
    memory: AtomicU64,
    exceeded: AtomicBool,
    pub(crate) cpu: Cpu,
}

impl Usage {
    pub(crate) fn new(limit: Option<u64>, cpu: Cpu) -> Arc<Self> {
        Arc::new(Self { limit, memory: AtomicU64::new(0), exceeded: AtomicBool::new(false), cpu })
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Whether some instance wanted more than there was.
    pub(crate) fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    fn charge(&self, bytes: u64) -> bool {
        let limit = self.limit.unwrap_or(u64::MAX);
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= limit);
        let charged = self.memory.try_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        if !charged {
            self.exceeded.store(true, Ordering::Relaxed);
        }
        charged
    }
}

/// The state of one instance.
pub(crate) struct Data {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) outgoing: Outgoing,
    pub(crate) addresses: Addresses,
    pub(crate) names: Arc<Names>,
    pub(crate) charge: Charge,
}

/// What one instance has been charged, given back with it.
pub(crate) struct Charge {
    usage: Arc<Usage>,
    bytes: u64,
}

impl Charge {
    pub(crate) fn new(usage: Arc<Usage>) -> Self {
        Self { usage, bytes: 0 }
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let bytes = desired.saturating_sub(current) as u64;
        if !self.usage.charge(bytes) {
            // A trap, as a container's process that goes beyond its limit is killed; few programs can go on.
            bail!("memory limit of {} bytes exceeded", self.usage.limit.unwrap_or(u64::MAX));
        }
        self.bytes += bytes;
        Ok(true)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.usage.memory.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Charge {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current * ELEMENT, desired * ELEMENT)
    }
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Data {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}
