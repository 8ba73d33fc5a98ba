//! The one configuration of wasmtime that compiler and host share.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Instances that one host holds at a time; each reserves address space, not memory.
const INSTANCES: u32 = 1000;

/// Bytes of a slot that are cleared by hand instead of being given back to the kernel.
const KEEP_RESIDENT: usize = 64 << 10;

/// Code that allocators do not influence, so that what the compiler wrote fits the host.
fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true).epoch_interruption(true);
    config
}

/// # Errors
/// When this machine is none that wasmtime supports.
pub(crate) fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// Instances come from a pool; where the address space is too small for it, from the allocator.
///
/// # Errors
/// As for [`compiler`].
pub(crate) fn host() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(INSTANCES * 2)
        .total_component_instances(INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 2)
        .total_stacks(INSTANCES)
        .table_elements(100_000)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT);
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&pooled).or_else(|_| Engine::new(&config()))
}
