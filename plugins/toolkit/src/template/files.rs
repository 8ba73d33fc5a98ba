//! The files of each kind and language.

use super::{File, Language};
use crate::project::Kind;

macro_rules! file {
    ($to:literal, $from:literal) => {
        ($to, include_str!(concat!("../../../../guest-sdk/", $from)))
    };
}

/// None for a language without SDK.
pub(super) fn of(kind: Kind, language: Language) -> Option<&'static [File]> {
    Some(match (language, kind) {
        (Language::Rust, Kind::Policy) => RUST_POLICY,
        (Language::Rust, Kind::Scheduler) => RUST_SCHEDULER,
        (Language::JavaScript, Kind::Policy) => JAVASCRIPT_POLICY,
        (Language::JavaScript, Kind::Scheduler) => JAVASCRIPT_SCHEDULER,
        (Language::Python, Kind::Policy) => PYTHON_POLICY,
        (Language::Python, Kind::Scheduler) => PYTHON_SCHEDULER,
        (Language::C, Kind::Policy) => C_POLICY,
        (Language::C, Kind::Scheduler) => C_SCHEDULER,
        (Language::Go, _) => return None,
    })
}

const RUST_POLICY: &[File] = &[
    file!("Cargo.toml", "rust/template/Cargo.toml"),
    file!("plugin.yaml", "rust/template/plugin.yaml"),
    file!(".gitignore", "rust/template/gitignore"),
    file!("README.md", "rust/template/README.md"),
    file!("src/lib.rs", "rust/template/policy/lib.rs"),
    file!("sdk/Cargo.toml", "rust/policy/Cargo.toml"),
    file!("sdk/src/lib.rs", "rust/policy/src/lib.rs"),
    file!("sdk/src/context.rs", "rust/policy/src/context.rs"),
    file!("sdk/src/export.rs", "rust/policy/src/export.rs"),
    file!("sdk/src/host.rs", "rust/policy/src/host.rs"),
    file!("sdk/src/policy.rs", "rust/policy/src/policy.rs"),
    file!("sdk/src/request.rs", "rust/policy/src/request.rs"),
    file!("sdk/src/testing.rs", "rust/policy/src/testing.rs"),
];

const RUST_SCHEDULER: &[File] = &[
    file!("Cargo.toml", "rust/template/Cargo.toml"),
    file!("plugin.yaml", "rust/template/plugin.yaml"),
    file!(".gitignore", "rust/template/gitignore"),
    file!("README.md", "rust/template/README.md"),
    file!("src/lib.rs", "rust/template/scheduler/lib.rs"),
    file!("sdk/Cargo.toml", "rust/scheduler/Cargo.toml"),
    file!("sdk/src/lib.rs", "rust/scheduler/src/lib.rs"),
    file!("sdk/src/cluster.rs", "rust/scheduler/src/cluster.rs"),
    file!("sdk/src/columns.rs", "rust/scheduler/src/columns.rs"),
    file!("sdk/src/export.rs", "rust/scheduler/src/export.rs"),
    file!("sdk/src/host.rs", "rust/scheduler/src/host.rs"),
    file!("sdk/src/plugin.rs", "rust/scheduler/src/plugin.rs"),
    file!("sdk/src/pod.rs", "rust/scheduler/src/pod.rs"),
    file!("sdk/src/testing.rs", "rust/scheduler/src/testing.rs"),
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
    file!("plugin.c", "c/template/policy/plugin.c"),
    file!("sdk/mizzen_json.h", "c/mizzen_json.h"),
    file!("sdk/mizzen_json.c", "c/mizzen_json.c"),
    file!("sdk/mizzen_policy.h", "c/mizzen_policy.h"),
    file!("sdk/mizzen_policy.c", "c/mizzen_policy.c"),
    file!("sdk/generated/admission_policy.h", "c/generated/admission_policy.h"),
    file!("sdk/generated/admission_policy.c", "c/generated/admission_policy.c"),
];

const C_SCHEDULER: &[File] = &[
    file!("plugin.yaml", "c/template/plugin.yaml"),
    file!(".gitignore", "c/template/gitignore"),
    file!("README.md", "c/template/README.md"),
    file!("plugin.c", "c/template/scheduler/plugin.c"),
    file!("sdk/mizzen_json.h", "c/mizzen_json.h"),
    file!("sdk/mizzen_json.c", "c/mizzen_json.c"),
    file!("sdk/mizzen_scheduler.h", "c/mizzen_scheduler.h"),
    file!("sdk/mizzen_scheduler.c", "c/mizzen_scheduler.c"),
    file!("sdk/generated/scheduler_plugin.h", "c/generated/scheduler_plugin.h"),
    file!("sdk/generated/scheduler_plugin.c", "c/generated/scheduler_plugin.c"),
];
