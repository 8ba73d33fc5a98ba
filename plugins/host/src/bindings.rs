//! What the WIT packages say, as Rust.

pub(crate) mod common {
    wasmtime::component::bindgen!({
        path: "../wit/plugin",
        interfaces: "
            import mizzen:plugin/log@0.1.0;
            import mizzen:plugin/clock@0.1.0;
            import mizzen:plugin/random@0.1.0;
            import mizzen:plugin/metrics@0.1.0;
        ",
        imports: { default: trappable },
    });
}

pub(crate) mod policy {
    wasmtime::component::bindgen!({
        path: ["../wit/plugin", "../wit/policy"],
        world: "mizzen:policy/admission-policy",
        imports: { default: trappable },
        additional_derives: [PartialEq],
        with: {
            "mizzen:plugin/log": crate::bindings::common::mizzen::plugin::log,
            "mizzen:plugin/clock": crate::bindings::common::mizzen::plugin::clock,
            "mizzen:plugin/random": crate::bindings::common::mizzen::plugin::random,
            "mizzen:plugin/metrics": crate::bindings::common::mizzen::plugin::metrics,
        },
    });
}

pub(crate) mod scheduler {
    wasmtime::component::bindgen!({
        path: ["../wit/plugin", "../wit/scheduler"],
        world: "mizzen:scheduler/scheduler-plugin",
        imports: { default: trappable },
        additional_derives: [PartialEq],
        with: {
            "mizzen:plugin/log": crate::bindings::common::mizzen::plugin::log,
            "mizzen:plugin/clock": crate::bindings::common::mizzen::plugin::clock,
            "mizzen:plugin/random": crate::bindings::common::mizzen::plugin::random,
            "mizzen:plugin/metrics": crate::bindings::common::mizzen::plugin::metrics,
        },
    });
}

/// The worlds of the minor version before. Types that are still the same are those of the current one.
pub(crate) mod previous {
    pub(crate) mod policy {
        wasmtime::component::bindgen!({
            path: ["../wit/plugin", "../wit/previous/policy"],
            world: "mizzen:policy/admission-policy",
            imports: { default: trappable },
            with: {
                "mizzen:plugin/log": crate::bindings::common::mizzen::plugin::log,
                "mizzen:plugin/clock": crate::bindings::common::mizzen::plugin::clock,
                "mizzen:plugin/random": crate::bindings::common::mizzen::plugin::random,
                "mizzen:plugin/metrics": crate::bindings::common::mizzen::plugin::metrics,
                "mizzen:policy/types": crate::bindings::policy::mizzen::policy::types,
            },
        });
    }

    pub(crate) mod scheduler {
        wasmtime::component::bindgen!({
            path: ["../wit/plugin", "../wit/previous/scheduler"],
            world: "mizzen:scheduler/scheduler-plugin",
            imports: { default: trappable },
            with: {
                "mizzen:plugin/log": crate::bindings::common::mizzen::plugin::log,
                "mizzen:plugin/clock": crate::bindings::common::mizzen::plugin::clock,
                "mizzen:plugin/random": crate::bindings::common::mizzen::plugin::random,
                "mizzen:plugin/metrics": crate::bindings::common::mizzen::plugin::metrics,
                "mizzen:scheduler/types": crate::bindings::scheduler::mizzen::scheduler::types,
            },
        });
    }
}
