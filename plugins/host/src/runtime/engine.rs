//! How wasmtime is set up. The compiler in `shims/wasm` has the same settings for everything that reaches compiled code.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Plugins' instances at a time; each reserves address space, not memory.
const INSTANCES: u32 = 1024;

fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true).epoch_interruption(true);
    config
}

/// Instances come from a pool; where the address space is too small for it, from the allocator.
///
/// # Errors
/// When this machine is none that wasmtime supports.
pub(super) fn new() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    // A component is made of several core instances, and languages with a runtime of their own have many.
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 8)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 4)
        .table_elements(50_000)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20);
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&pooled).or_else(|error| {
        tracing::debug!(%error, "no pool of plugin instances");
        Engine::new(&config())
    })
}

/// What compiled code must have been made for.
pub(super) fn fingerprint(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
