//! Where the executables under test are: beside the test executables (`make test` builds them first).

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// # Panics
/// When it was not built.
pub fn path(name: &str) -> PathBuf {
    // target/PROFILE/deps/TEST, or target/PROFILE/mizzen-bench
    let this = std::env::current_exe().expect("a test knows itself");
    let dir = this.parent().expect("tests stand in a target folder");
    let dir = if dir.ends_with("deps") { dir.parent().expect("tests stand in a target folder") } else { dir };
    let path = dir.join(name);
    assert!(path.is_file(), "{} is missing: run `make build`", path.display());
    path
}

pub fn mizzen() -> Command {
    Command::new(path("mizzen"))
}

/// The folder with the repository's sources.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// A Wasm guest of `examples/`, built on first use.
///
/// # Panics
/// When it does not build.
pub fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| guests("examples", "wasm32-wasip2")).join(format!("{name}.wasm"))
}

/// A policy of Kubewarden of `examples/kubewarden`, built with its own SDK on first use.
///
/// # Panics
/// When it does not build.
pub fn kubewarden(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| guests("examples/kubewarden", "wasm32-wasip1")).join(format!("{name}.wasm"))
}

/// Builds a workspace of guests, as far as it is not built yet. Answers the folder with the modules.
fn guests(workspace: &str, triple: &str) -> PathBuf {
    let target = path("mizzen").ancestors().nth(2).expect("a target folder").join("examples");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--target", triple, "--manifest-path"]);
    cargo.arg(repository().join(workspace).join("Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    crate::command::run(&mut cargo).ok();
    target.join(triple).join("release")
}

/// The core module of one of `plugins/samples`.
///
/// # Panics
/// When it does not build.
pub fn sample_module(name: &str) -> PathBuf {
    let target = path("mizzen").ancestors().nth(2).expect("a target folder").join("plugin-projects/samples");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--release", "--target", "wasm32-unknown-unknown", "--package", name, "--manifest-path"]);
    cargo.arg(repository().join("plugins/samples/Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    crate::command::run(&mut cargo).ok();
    target.join(format!("wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_")))
}
