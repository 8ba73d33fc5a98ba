//! Where plugins' lines go.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

pub trait LogSink: Send + Sync + 'static {
    /// One line without its end, at most [`LONGEST`] bytes.
    fn write(&self, plugin: &str, level: Level, line: &str);
}

/// To the server's own log.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingLog;

impl LogSink for TracingLog {
    fn write(&self, plugin: &str, level: Level, line: &str) {
        match level {
            Level::Debug => tracing::debug!(target: "plugin", plugin, "{line}"),
            Level::Info => tracing::info!(target: "plugin", plugin, "{line}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, "{line}"),
            Level::Error => tracing::error!(target: "plugin", plugin, "{line}"),
        }
    }
}

/// Bytes of a line; the rest is cut off.
pub(crate) const LONGEST: usize = 4096;
/// Lines of one plugin in [`WINDOW`]; more would hide everybody else's.
const MOST: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts a plugin's lines.
#[derive(Default)]
pub(crate) struct Rate(Mutex<Option<(Instant, u32)>>);

impl Rate {
    /// How many earlier lines were left out, when this one may be written.
    pub(crate) fn admit(&self, now: Instant) -> Option<u32> {
        let mut window = self.0.lock();
        match &mut *window {
            Some((begun, lines)) if now.saturating_duration_since(*begun) < WINDOW => {
                *lines = lines.saturating_add(1);
                (*lines <= MOST).then_some(0)
            }
            window => {
                let left_out = window.map_or(0, |(_, lines)| lines.saturating_sub(MOST));
                *window = Some((now, 1));
                Some(left_out)
            }
        }
    }
}

/// The line up to the limit, never in the middle of a character.
pub(crate) fn cut(line: &str) -> &str {
    &line[..line.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_told_of() {
        let (rate, now) = (Rate::default(), Instant::now());
        let written = (0..500).filter(|_| rate.admit(now).is_some()).count();
        assert_eq!(written, 200);
        assert_eq!(rate.admit(now + WINDOW), Some(300));
        assert_eq!(rate.admit(now + WINDOW), Some(0));
    }

    #[test]
    fn long_lines_end_with_a_whole_character() {
        let line = format!("{}é", "x".repeat(LONGEST - 1));
        assert_eq!(cut(&line).len(), LONGEST - 1);
        assert_eq!(cut("short"), "short");
    }
}
