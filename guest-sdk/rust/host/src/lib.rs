//! What the host offers to every plugin. Natively, in unit tests, lines go to stderr and the rest stands still.

pub use bindings::mizzen::plugin::log::Level;

/// The contract's bindings, which the SDKs of each kind share.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "host",
        generate_all,
    });
}

/// One line for the server's log.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::mizzen::plugin::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}

/// Milliseconds since 1970-01-01T00:00:00Z; natively 0.
pub fn now() -> u64 {
    #[cfg(target_family = "wasm")]
    return crate::bindings::mizzen::plugin::clock::now();
    #[cfg(not(target_family = "wasm"))]
    0
}

/// Nanoseconds since an arbitrary moment, which never go back; natively 0.
pub fn monotonic() -> u64 {
    #[cfg(target_family = "wasm")]
    return crate::bindings::mizzen::plugin::clock::monotonic();
    #[cfg(not(target_family = "wasm"))]
    0
}

/// At most 4,096 random bytes, more traps; natively zeros.
pub fn random(count: u32) -> Vec<u8> {
    #[cfg(target_family = "wasm")]
    return crate::bindings::mizzen::plugin::random::bytes(count);
    #[cfg(not(target_family = "wasm"))]
    vec![0; count as usize]
}

/// Adds to a counter, shown at `/metrics` as `mizzen_plugin_user_<name>`.
pub fn count(name: &str, amount: f64) {
    #[cfg(target_family = "wasm")]
    crate::bindings::mizzen::plugin::metrics::count(name, amount);
    #[cfg(not(target_family = "wasm"))]
    let _ = (name, amount);
}

/// Sets a gauge, shown as [`count`]'s counters are.
pub fn gauge(name: &str, value: f64) {
    #[cfg(target_family = "wasm")]
    crate::bindings::mizzen::plugin::metrics::gauge(name, value);
    #[cfg(not(target_family = "wasm"))]
    let _ = (name, value);
}

/// Lets the log say why a plugin trapped.
#[doc(hidden)]
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}
