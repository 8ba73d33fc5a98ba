//! Running programs.

use std::process::{Command, Output};

/// A program that ran.
#[derive(Debug)]
pub struct Ran {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// What it printed.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}{}", self.line, self.stdout, self.stderr);
        self.stdout
    }

    /// What it complained of.
    ///
    /// # Panics
    /// When it did not fail.
    #[track_caller]
    pub fn err(self) -> String {
        assert_ne!(self.code, Some(0), "{} should have failed\n{}", self.line, self.stdout);
        self.stderr
    }
}

/// Runs a program to its end.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command) -> Ran {
    let line = format!("{command:?}");
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { line, code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}
