//! `make demo` in a terminal, with the executables that are built already.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::command::{Ran, run};
use crate::executables;
use crate::folder::Folder;
use crate::leftovers;
use crate::ports::Port;
use crate::wait::{eventually, eventually_within};

/// How `make` ends that somebody interrupted, whatever its programs make of it.
pub const INTERRUPTED: i32 = 130;

/// Longer than the demo itself waits for its pods, so that it is heard what it makes of them.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where demos run: their data stays from one to the next if they are told to keep it.
pub struct Place {
    folder: Folder,
    api: Port,
    registry: Port,
}

pub struct Demo<'a> {
    place: &'a Place,
    /// `script` with the terminal.
    terminal: Child,
}

impl Place {
    pub fn new() -> Self {
        let folder = Folder::new();
        std::fs::create_dir(folder.path().join("tmp")).expect("makes");
        Self { folder, api: Port::reserve(), registry: Port::reserve() }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.data()
    }

    /// What the demo and its programs keep in the folder for temporary files.
    pub fn temporary(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.folder.path().join("tmp")).expect("is there").flatten().map(|entry| entry.path()).collect()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// `make demo` in a terminal. `path` is where it finds programs.
    fn command(&self, path: &str, keep: bool) -> Command {
        // Before, so that building them takes no time from the demo.
        executables::guest("hello_http");
        let mizzen = executables::path("mizzen");
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--flush", "--command", "make --no-print-directory demo", "/dev/null"]);
        script.current_dir(executables::repository()).env("PATH", path).env("TMPDIR", self.folder.path().join("tmp"));
        // A make of our own, not part of the one that runs the tests.
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KUBECONFIG", "KEEP"] {
            script.env_remove(name);
        }
        script.env("CARGO_TARGET_DIR", mizzen.ancestors().nth(2).expect("a target folder")).env("MIZZEN", &mizzen);
        script.env("DATA_DIR", self.data()).env("API_ADDRESS", self.api.address().to_string());
        script.env("REGISTRY_ADDRESS", self.registry.address().to_string());
        if keep {
            script.env("KEEP", "1");
        }
        script
    }

    /// Runs the demo until it has shown everything.
    ///
    /// # Panics
    /// When it does not get there; with what it said.
    pub fn start(&self, path: &str, keep: bool) -> Demo<'_> {
        let mut script = self.command(path, keep);
        let said = self.folder.path().join("said");
        script.stdin(Stdio::piped()).stdout(File::create(&said).expect("makes")).stderr(Stdio::null());
        let terminal = script.spawn().expect("script starts (.ci/setup installs bsdutils)");
        // Says what the demo said also when it does not get there.
        let mut demo = Demo { place: self, terminal };
        eventually_within(PATIENCE, "the demo has shown everything", || {
            let ended = demo.terminal.try_wait().expect("waits");
            assert!(ended.is_none(), "the demo ended with {ended:?}");
            self.said().contains("Ctrl-C takes it down").then_some(())
        });
        demo
    }

    /// Runs a demo that cannot start.
    pub fn refused(&self, path: &str) -> Ran {
        run(self.command(path, false).stdin(Stdio::null()))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Demo<'_> {
    /// All that it has printed so far.
    pub fn said(&self) -> String {
        self.place.said()
    }

    pub fn id(&self) -> String {
        leftovers::cluster_id(&self.place.data())
    }

    /// Types Ctrl-C and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn interrupt(mut self) -> (ExitStatus, String) {
        // The terminal makes a SIGINT of it, for all processes in its foreground.
        let stdin = self.terminal.stdin.as_mut().expect("is piped");
        stdin.write_all(b"\x03").and_then(|()| stdin.flush()).expect("types");
        let status = eventually("the demo ends", || self.terminal.try_wait().expect("waits"));
        (status, self.said())
    }
}

impl Drop for Demo<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the demo said:\n{}", self.said());
        }
        // Closing the terminal ends what runs in it.
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.folder.down();
    }
}

/// A PATH with all programs of ours but kubectl, in links below `folder`.
///
/// # Panics
/// When the links cannot be made.
pub fn path_without_kubectl(folder: &Path) -> String {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    for program in std::env::split_paths(&path).filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
        let link = folder.join(program.file_name());
        if program.file_name() != "kubectl" && link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(program.path(), link).expect("links");
        }
    }
    folder.to_str().expect("is text").to_owned()
}
