//! Tells readers of logs when something was written, by one inotify instance for all of them: a user may have few.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// How often a directory is looked at for which the kernel has no watch left.
const LOOK: Duration = Duration::from_millis(200);

struct Instance(Inotify);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Inner {
    instance: AsyncFd<Instance>,
    /// The kernel knows a directory by one number, however often it is asked for.
    directories: Mutex<HashMap<WatchDescriptor, watch::Sender<()>>>,
    /// The kernel tells nothing any more.
    ended: AtomicBool,
}

impl Inner {
    /// Readers look for themselves from now on.
    fn end(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(%error, "inotify ended; followed logs are looked at now and then");
        let mut directories = self.directories.lock();
        self.ended.store(true, Ordering::Relaxed);
        directories.clear();
    }
}

/// Directories of logs that somebody reads.
#[derive(Clone)]
pub(crate) struct Watches(Option<Arc<Inner>>);

/// One reader's look at a directory.
pub(crate) struct Watch {
    of: Option<(Arc<Inner>, WatchDescriptor, watch::Receiver<()>)>,
}

impl Watches {
    /// To be called within a tokio runtime.
    pub(crate) fn start() -> Self {
        let inner = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(std::io::Error::from)
            // SAFETY: the instance owns its descriptor, which is always the same and closed only with it.
            .and_then(|inotify| unsafe { AsyncFd::register(Instance(inotify)) }.map_err(Into::into));
        match inner {
            Ok(instance) => {
                let inner = Arc::new(Inner { instance, directories: Mutex::default(), ended: AtomicBool::new(false) });
                tokio::spawn(pass_on(Arc::downgrade(&inner)));
                Self(Some(inner))
            }
            Err(error) => {
                tracing::warn!(%error, "no inotify; followed logs are looked at now and then");
                Self(None)
            }
        }
    }

    pub(crate) fn watch(&self, directory: &Path) -> Watch {
        let Some(inner) = &self.0 else { return Watch { of: None } };
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
        // Held meanwhile, so that a reader that leaves does not take away what another one just got.
        let mut directories = inner.directories.lock();
        if inner.ended.load(Ordering::Relaxed) {
            return Watch { of: None };
        }
        match inner.instance.get_ref().0.add_watch(directory, flags) {
            Ok(number) => {
                let receiver = directories.entry(number).or_default().subscribe();
                Watch { of: Some((inner.clone(), number, receiver)) }
            }
            Err(error) => {
                tracing::debug!(directory = %directory.display(), %error, "log directory not watched");
                Watch { of: None }
            }
        }
    }
}

impl Watch {
    /// Returns when something was written since the last call, or may have been.
    pub(crate) async fn changed(&mut self) {
        if let Some((_, _, receiver)) = &mut self.of
            && receiver.changed().await.is_ok()
        {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some((inner, number, receiver)) = self.of.take() else { return };
        let mut directories = inner.directories.lock();
        drop(receiver);
        if directories.get(&number).is_some_and(|sender| sender.receiver_count() == 0) {
            directories.remove(&number);
            // The directory may be gone, and its watch with it.
            let _ = inner.instance.get_ref().0.rm_watch(number);
        }
    }
}

/// Until nobody watches any more.
async fn pass_on(inner: std::sync::Weak<Inner>) {
    while let Some(inner) = inner.upgrade() {
        // Looks up from time to time whether it is still needed.
        let Ok(ready) = tokio::time::timeout(Duration::from_secs(60), inner.instance.readable()).await else { continue };
        let mut ready = match ready {
            Ok(ready) => ready,
            Err(error) => return inner.end(&error),
        };
        match inner.instance.get_ref().0.read_events() {
            Ok(events) => {
                let directories = inner.directories.lock();
                for event in events {
                    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                        directories.values().for_each(|sender| sender.send_replace(()));
                    } else if let Some(sender) = directories.get(&event.wd) {
                        sender.send_replace(());
                    }
                }
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(error) => return inner.end(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_reader_of_a_directory_hears_of_what_is_written_and_the_last_one_takes_the_watch_away() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let watches = Watches::start();
        let (mut one, mut two) = (watches.watch(dir.path()), watches.watch(dir.path()));
        std::fs::write(dir.path().join("0.log"), "x").expect("writes");
        one.changed().await;
        two.changed().await;
        drop(one);
        std::fs::write(dir.path().join("0.log"), "y").expect("writes");
        two.changed().await;
        drop(two);
        let inner = watches.0.as_ref().expect("has inotify");
        assert!(inner.directories.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watch_there_is_a_look_now_and_then() {
        Watches(None).watch(Path::new("/")).changed().await;
        Watches::start().watch(Path::new("/nowhere")).changed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn readers_look_for_themselves_when_the_kernel_tells_nothing_any_more() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let watches = Watches::start();
        let mut early = watches.watch(dir.path());
        watches.0.as_ref().expect("has inotify").end(&"a test");
        early.changed().await;
        watches.watch(dir.path()).changed().await;
    }
}
