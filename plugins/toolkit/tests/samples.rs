//! The policies and scheduler plugins of `plugins/samples` answer as their tables say.

use std::path::PathBuf;
use std::process::Command;

use mizzen_plugins_toolkit::{cases, component, inspect};
use mizzen_tests::executables::{path, repository};

#[tokio::test]
async fn every_sample_answers_as_its_table_says() {
    let samples = repository().join("plugins/samples");
    let root = path("mizzen").ancestors().nth(2).unwrap().join("plugin-projects");
    let target = root.join("samples");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--release", "--target", "wasm32-unknown-unknown", "--manifest-path"]);
    build.arg(samples.join("Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    mizzen_tests::command::run(&mut build).ok();

    let mut failures = Vec::new();
    let mut names: Vec<PathBuf> = std::fs::read_dir(&samples).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.join("plugin.yaml").is_file());
    assert!(names.len() >= 12, "{names:?}");
    let folder = tempfile::tempdir().unwrap();
    for sample in names {
        let name = sample.file_name().unwrap().to_str().unwrap();
        let module = target.join(format!("wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_")));
        let built = folder.path().join(format!("{name}.wasm"));
        std::fs::write(&built, component(std::fs::read(module).unwrap(), None).unwrap()).unwrap();
        let artifact = inspect::load(&built, Some(root.join("compiled"))).await.unwrap();
        assert_eq!(artifact.needs().count(), 0, "{name}: {:?}", artifact.imports());
        for outcome in cases::run(&artifact, &sample.join("tests.yaml")).unwrap() {
            failures.extend(outcome.failure.map(|why| format!("{name}: {}: {why}", outcome.name)));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
