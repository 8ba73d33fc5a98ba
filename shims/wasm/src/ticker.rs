//! The clock of epochs, by which guests notice that their turn is over. It stands still while no guest runs, so that an
//! idle host wakes no processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;
use std::{io, sync::OnceLock};

use wasmtime::Engine;

/// How long a guest runs before others get their turn, and how soon a kill is noticed.
pub(crate) const TICK: Duration = Duration::from_millis(2);

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

impl Ticker {
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(engine: Engine) -> io::Result<Arc<Self>> {
        let ticker = Arc::new(Self::default());
        let ticking = Arc::clone(&ticker);
        let thread = thread::Builder::new().name("epochs".into()).spawn(move || ticking.tick(&engine))?;
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(ticker)
    }

    /// A clock that nobody winds.
    #[cfg(test)]
    pub(crate) fn still() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn run(&self) -> Running<'_> {
        // Before the look at whether the clock stands, which it says before it looks here.
        self.running.fetch_add(1, Ordering::SeqCst);
        self.ran.store(true, Ordering::Relaxed);
        if self.stands.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        Running(self)
    }

    #[expect(clippy::disallowed_methods, reason = "the epochs' own thread: it must tick while every worker is taken by guests")]
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        loop {
            thread::sleep(TICK);
            engine.increment_epoch();
            let ran = self.ran.swap(false, Ordering::Relaxed) || self.running.load(Ordering::SeqCst) > 0;
            idle = if ran { 0 } else { idle + 1 };
            if idle < LINGER {
                continue;
            }
            self.stands.store(true, Ordering::SeqCst);
            while self.running.load(Ordering::SeqCst) == 0 && !self.ran.load(Ordering::SeqCst) {
                thread::park();
            }
            self.stands.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
