//! The files of each kind and language.

use super::{File, Language};
use crate::project::Kind;

macro_rules! file {
    ($to:literal, $from:literal) => {
        ($to, include_str!(concat!("../../../../guest-sdk/", $from)))
    };
}

pub(super) fn of(kind: Kind, language: Language) -> &'static [File] {
    match (language, kind) {
        (Language::Rust, Kind::Policy) => RUST_POLICY,
        (Language::Rust, Kind::Scheduler) => RUST_SCHEDULER,
        (Language::JavaScript, Kind::Policy) => JAVASCRIPT_POLICY,
        (Language::JavaScript, Kind::Scheduler) => JAVASCRIPT_SCHEDULER,
        (Language::Python, Kind::Policy) => PYTHON_POLICY,
        (Language::Python, Kind::Scheduler) => PYTHON_SCHEDULER,
        (Language::C, Kind::Policy) => C_POLICY,
        (Language::C, Kind::Scheduler) => C_SCHEDULER,
        (Language::Go, Kind::Policy) => GO_POLICY,
        (Language::Go, Kind::Scheduler) => GO_SCHEDULER,
    }
}

const RUST_POLICY: &[File] = &[
    file!("Cargo.toml", "rust/template/Cargo.toml"),
    file!("plugin.yaml", "rust/template/plugin.yaml"),
    file!(".gitignore", "rust/template/gitignore"),
    file!("README.md", "rust/template/README.md"),
    file!("src/lib.rs", "rust/template/policy/lib.rs"),
    file!("sdk/policy/Cargo.toml", "rust/policy/Cargo.toml"),
    file!("sdk/policy/src/lib.rs", "rust/policy/src/lib.rs"),
    file!("sdk/policy/src/context.rs", "rust/policy/src/context.rs"),
    file!("sdk/policy/src/export.rs", "rust/policy/src/export.rs"),
    file!("sdk/policy/src/policy.rs", "rust/policy/src/policy.rs"),
    file!("sdk/policy/src/request.rs", "rust/policy/src/request.rs"),
    file!("sdk/policy/src/seek.rs", "rust/policy/src/seek.rs"),
    file!("sdk/policy/src/testing.rs", "rust/policy/src/testing.rs"),
    file!("sdk/host/Cargo.toml", "rust/host/Cargo.toml"),
    file!("sdk/host/src/lib.rs", "rust/host/src/lib.rs"),
    file!("sdk/host/wit/host.wit", "rust/host/wit/host.wit"),
    file!("sdk/host/wit/deps/plugin/plugin.wit", "rust/host/wit/deps/plugin/plugin.wit"),
];

const RUST_SCHEDULER: &[File] = &[
    file!("Cargo.toml", "rust/template/Cargo.toml"),
    file!("plugin.yaml", "rust/template/plugin.yaml"),
    file!(".gitignore", "rust/template/gitignore"),
    file!("README.md", "rust/template/README.md"),
    file!("src/lib.rs", "rust/template/scheduler/lib.rs"),
    file!("sdk/scheduler/Cargo.toml", "rust/scheduler/Cargo.toml"),
    file!("sdk/scheduler/src/lib.rs", "rust/scheduler/src/lib.rs"),
    file!("sdk/scheduler/src/cluster.rs", "rust/scheduler/src/cluster.rs"),
    file!("sdk/scheduler/src/columns.rs", "rust/scheduler/src/columns.rs"),
    file!("sdk/scheduler/src/export.rs", "rust/scheduler/src/export.rs"),
    file!("sdk/scheduler/src/plugin.rs", "rust/scheduler/src/plugin.rs"),
    file!("sdk/scheduler/src/pod.rs", "rust/scheduler/src/pod.rs"),
    file!("sdk/scheduler/src/testing.rs", "rust/scheduler/src/testing.rs"),
    file!("sdk/host/Cargo.toml", "rust/host/Cargo.toml"),
    file!("sdk/host/src/lib.rs", "rust/host/src/lib.rs"),
    file!("sdk/host/wit/host.wit", "rust/host/wit/host.wit"),
    file!("sdk/host/wit/deps/plugin/plugin.wit", "rust/host/wit/deps/plugin/plugin.wit"),
];

const JAVASCRIPT_POLICY: &[File] = &[
    file!("package.json", "javascript/template/package.json"),
    file!("plugin.yaml", "javascript/template/plugin.yaml"),
    file!(".gitignore", "javascript/template/gitignore"),
    file!("README.md", "javascript/template/README.md"),
    file!("plugin.js", "javascript/template/policy/plugin.js"),
    file!("plugin.test.js", "javascript/template/policy/plugin.test.js"),
    file!("sdk/policy.js", "javascript/policy.js"),
    file!("sdk/host.js", "javascript/host.js"),
    file!("sdk/testing.js", "javascript/testing.js"),
];

const JAVASCRIPT_SCHEDULER: &[File] = &[
    file!("package.json", "javascript/template/package.json"),
    file!("plugin.yaml", "javascript/template/plugin.yaml"),
    file!(".gitignore", "javascript/template/gitignore"),
    file!("README.md", "javascript/template/README.md"),
    file!("plugin.js", "javascript/template/scheduler/plugin.js"),
    file!("plugin.test.js", "javascript/template/scheduler/plugin.test.js"),
    file!("sdk/scheduler.js", "javascript/scheduler.js"),
    file!("sdk/host.js", "javascript/host.js"),
    file!("sdk/testing.js", "javascript/testing.js"),
];

const PYTHON_POLICY: &[File] = &[
    file!("plugin.yaml", "python/template/plugin.yaml"),
    file!(".gitignore", "python/template/gitignore"),
    file!("README.md", "python/template/README.md"),
    file!("app.py", "python/template/policy/app.py"),
    file!("test_app.py", "python/template/policy/test_app.py"),
    file!("mizzen/__init__.py", "python/mizzen/__init__.py"),
    file!("mizzen/_wit.py", "python/mizzen/_wit.py"),
    file!("mizzen/_stand_ins.py", "python/mizzen/_stand_ins.py"),
    file!("mizzen/host.py", "python/mizzen/host.py"),
    file!("mizzen/policy.py", "python/mizzen/policy.py"),
    file!("mizzen/testing.py", "python/mizzen/testing.py"),
];

const PYTHON_SCHEDULER: &[File] = &[
    file!("plugin.yaml", "python/template/plugin.yaml"),
    file!(".gitignore", "python/template/gitignore"),
    file!("README.md", "python/template/README.md"),
    file!("app.py", "python/template/scheduler/app.py"),
    file!("test_app.py", "python/template/scheduler/test_app.py"),
    file!("mizzen/__init__.py", "python/mizzen/__init__.py"),
    file!("mizzen/_wit.py", "python/mizzen/_wit.py"),
    file!("mizzen/_stand_ins.py", "python/mizzen/_stand_ins.py"),
    file!("mizzen/host.py", "python/mizzen/host.py"),
    file!("mizzen/scheduler.py", "python/mizzen/scheduler.py"),
    file!("mizzen/testing.py", "python/mizzen/testing.py"),
];

const C_POLICY: &[File] = &[
    file!("plugin.yaml", "c/template/plugin.yaml"),
    file!(".gitignore", "c/template/gitignore"),
    file!("README.md", "c/template/README.md"),
    file!("Makefile", "c/template/Makefile"),
    file!("plugin.c", "c/template/policy/plugin.c"),
    file!("plugin_test.c", "c/template/policy/plugin_test.c"),
    file!("sdk/mizzen_json.h", "c/mizzen_json.h"),
    file!("sdk/mizzen_json.c", "c/mizzen_json.c"),
    file!("sdk/mizzen_policy.h", "c/mizzen_policy.h"),
    file!("sdk/mizzen_policy.c", "c/mizzen_policy.c"),
    file!("sdk/mizzen_policy_testing.h", "c/mizzen_policy_testing.h"),
    file!("sdk/mizzen_policy_testing.c", "c/mizzen_policy_testing.c"),
    file!("sdk/mizzen_stand_ins.c", "c/mizzen_stand_ins.c"),
    file!("sdk/generated/admission_policy.h", "c/generated/admission_policy.h"),
    file!("sdk/generated/admission_policy.c", "c/generated/admission_policy.c"),
];

const C_SCHEDULER: &[File] = &[
    file!("plugin.yaml", "c/template/plugin.yaml"),
    file!(".gitignore", "c/template/gitignore"),
    file!("README.md", "c/template/README.md"),
    file!("Makefile", "c/template/Makefile"),
    file!("plugin.c", "c/template/scheduler/plugin.c"),
    file!("plugin_test.c", "c/template/scheduler/plugin_test.c"),
    file!("sdk/mizzen_json.h", "c/mizzen_json.h"),
    file!("sdk/mizzen_json.c", "c/mizzen_json.c"),
    file!("sdk/mizzen_scheduler.h", "c/mizzen_scheduler.h"),
    file!("sdk/mizzen_scheduler.c", "c/mizzen_scheduler.c"),
    file!("sdk/mizzen_scheduler_testing.h", "c/mizzen_scheduler_testing.h"),
    file!("sdk/mizzen_scheduler_testing.c", "c/mizzen_scheduler_testing.c"),
    file!("sdk/mizzen_stand_ins.c", "c/mizzen_stand_ins.c"),
    file!("sdk/generated/scheduler_plugin.h", "c/generated/scheduler_plugin.h"),
    file!("sdk/generated/scheduler_plugin.c", "c/generated/scheduler_plugin.c"),
];

const GO_POLICY: &[File] = &[
    file!("go.mod", "go/template/gomod"),
    file!("plugin.yaml", "go/template/plugin.yaml"),
    file!(".gitignore", "go/template/gitignore"),
    file!("README.md", "go/template/README.md"),
    file!("plugin.go", "go/template/policy/plugin.go"),
    file!("plugin_test.go", "go/template/policy/plugin_test.go"),
    file!("mizzen/abi_wasip1.go", "go/mizzen/abi_wasip1.go"),
    file!("mizzen/host.go", "go/mizzen/host.go"),
    file!("mizzen/host_native.go", "go/mizzen/host_native.go"),
    file!("mizzen/host_wasip1.go", "go/mizzen/host_wasip1.go"),
    file!("mizzen/context.go", "go/mizzen/context.go"),
    file!("mizzen/context_native.go", "go/mizzen/context_native.go"),
    file!("mizzen/context_wasip1.go", "go/mizzen/context_wasip1.go"),
    file!("mizzen/policy.go", "go/mizzen/policy.go"),
    file!("mizzen/policy_testing.go", "go/mizzen/policy_testing.go"),
    file!("mizzen/policy_wasip1.go", "go/mizzen/policy_wasip1.go"),
    file!("mizzen/request.go", "go/mizzen/request.go"),
];

const GO_SCHEDULER: &[File] = &[
    file!("go.mod", "go/template/gomod"),
    file!("plugin.yaml", "go/template/plugin.yaml"),
    file!(".gitignore", "go/template/gitignore"),
    file!("README.md", "go/template/README.md"),
    file!("plugin.go", "go/template/scheduler/plugin.go"),
    file!("plugin_test.go", "go/template/scheduler/plugin_test.go"),
    file!("mizzen/abi_wasip1.go", "go/mizzen/abi_wasip1.go"),
    file!("mizzen/host.go", "go/mizzen/host.go"),
    file!("mizzen/host_native.go", "go/mizzen/host_native.go"),
    file!("mizzen/host_wasip1.go", "go/mizzen/host_wasip1.go"),
    file!("mizzen/cluster.go", "go/mizzen/cluster.go"),
    file!("mizzen/columns.go", "go/mizzen/columns.go"),
    file!("mizzen/scheduler.go", "go/mizzen/scheduler.go"),
    file!("mizzen/scheduler_native.go", "go/mizzen/scheduler_native.go"),
    file!("mizzen/scheduler_testing.go", "go/mizzen/scheduler_testing.go"),
    file!("mizzen/scheduler_wasip1.go", "go/mizzen/scheduler_wasip1.go"),
];
