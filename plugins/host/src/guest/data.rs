//! What one instance has at hand, and what it is charged for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use crate::kubewarden::Talk;
use crate::plugin::Shared;
use crate::plugin::log::{LONGEST, Level};

/// Bytes of a table's element.
const ELEMENT: usize = size_of::<usize>();

/// Things of the host that an instance may hold at a time.
const RESOURCES: usize = 1024;

pub(crate) struct Data {
    pub(crate) shared: Arc<Shared>,
    pub(crate) table: ResourceTable,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    /// With a policy of Kubewarden.
    pub(crate) talk: Talk,
    /// When the call under way must have ended.
    pub(crate) deadline: Instant,
    /// The call under way holds up others.
    pub(crate) brief: Option<Brief>,
    /// Those of the requests under review.
    pub(crate) namespaces: Vec<String>,
    /// Some growth was refused during the call under way.
    pub(crate) exceeded: bool,
    /// Bytes.
    memory: usize,
}

/// A call that must not run for long. What counts is the processor time: a thread that is not let run is not the guest's fault.
pub(crate) struct Brief {
    /// The end, whoever's fault it is.
    pub(crate) until: Instant,
    /// Of the thread, when its time was up for the first time.
    pub(crate) used: Option<Duration>,
}

impl Data {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.stats.instances.fetch_add(1, Ordering::Relaxed);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Self {
            stdout: Lines::new(Level::Info),
            stderr: Lines::new(Level::Warn),
            shared,
            table,
            talk: Talk::default(),
            deadline: Instant::now(),
            brief: None,
            namespaces: Vec::new(),
            exceeded: false,
            memory: 0,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current);
        if self.memory.saturating_add(more) > self.shared.limits.memory {
            self.exceeded = true;
            return false;
        }
        self.memory += more;
        self.shared.stats.memory.fetch_add(more as u64, Ordering::Relaxed);
        true
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.stdout.flush(&self.shared);
        self.stderr.flush(&self.shared);
        self.shared.stats.memory.fetch_sub(self.memory as u64, Ordering::Relaxed);
        self.shared.stats.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A guest that gets no more may go on with what it has, as with a machine that is full; most trap.
impl ResourceLimiter for Data {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current.saturating_mul(ELEMENT), desired.saturating_mul(ELEMENT)))
    }
}

/// A standard stream, which goes to the log line by line.
pub(crate) struct Lines {
    level: Level,
    begun: Vec<u8>,
}

impl Lines {
    fn new(level: Level) -> Self {
        Self { level, begun: Vec::new() }
    }

    pub(crate) fn write(&mut self, shared: &Shared, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.begun.len());
            self.begun.extend(part.iter().filter(|byte| **byte != b'\n').take(room));
            if part.ends_with(b"\n") {
                self.flush(shared);
            }
        }
    }

    pub(crate) fn flush(&mut self, shared: &Shared) {
        if !self.begun.is_empty() {
            shared.write_log(self.level, &String::from_utf8_lossy(&self.begun));
            self.begun.clear();
        }
    }
}
