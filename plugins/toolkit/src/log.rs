//! What plugins write while their author looks on.

use mizzen_plugins_host::{Level, LogSink};

/// To this process' stderr.
pub(crate) struct Stderr;

impl LogSink for Stderr {
    fn write(&self, plugin: &str, level: Level, line: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        eprintln!("{plugin}: {level}: {line}");
    }
}
