//! The clock of epochs, by which guests notice that their time is up. It stands still while no guest runs, so that a server
//! without work wakes no processor.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// How finely deadlines are kept.
const TICK: Duration = Duration::from_millis(2);

/// Ticks without a guest after which the clock stands still.
const LINGER: u32 = 50;

#[derive(Default)]
pub(crate) struct Ticker {
    /// Guests on a processor.
    running: AtomicUsize,
    /// Some guest has run since the last tick.
    ran: AtomicBool,
    stands: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A guest is on a processor while this lives.
pub(crate) struct Running<'a>(&'a Ticker);

/// The ticks after which so much time has passed for certain.
pub(crate) fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u64::MAX >> 1).saturating_add(1)
}

impl Ticker {
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(engine: Engine) -> io::Result<Arc<Self>> {
        let ticker = Arc::new(Self::default());
        let ticking = Arc::downgrade(&ticker);
        let thread = thread::Builder::new().name("plugin-epochs".into()).spawn(move || tick(&ticking, &engine))?;
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(ticker)
    }

    pub(crate) fn run(&self) -> Running<'_> {
        // Before the look at whether the clock stands, which it says before it looks here.
        self.running.fetch_add(1, Ordering::SeqCst);
        self.ran.store(true, Ordering::Relaxed);
        if self.stands.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(self)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0 && !self.ran.load(Ordering::SeqCst)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Ends with the ticker.
#[expect(clippy::disallowed_methods, reason = "the epochs' own thread: it must tick while every worker is taken by guests")]
fn tick(ticker: &Weak<Ticker>, engine: &Engine) {
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        engine.increment_epoch();
        let Some(now) = ticker.upgrade() else { return };
        let ran = now.ran.swap(false, Ordering::Relaxed) || now.running.load(Ordering::SeqCst) > 0;
        idle = if ran { 0 } else { idle + 1 };
        if idle < LINGER {
            continue;
        }
        now.stands.store(true, Ordering::SeqCst);
        let mut present = Some(now);
        while let Some(now) = present.take() {
            if !now.is_idle() {
                now.stands.store(false, Ordering::SeqCst);
                break;
            }
            // Not held while it stands, so that it can be given up.
            drop(now);
            thread::park();
            present = ticker.upgrade();
        }
        idle = 0;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_short() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_millis(10)), 6);
        assert!(ticks(Duration::MAX) > u64::MAX >> 2);
    }
}
